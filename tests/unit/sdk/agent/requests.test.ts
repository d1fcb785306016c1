import fc from 'fast-check';
import { errAsync } from 'neverthrow';
import { describe, expect, it } from 'vitest';
import { processOutcome } from '../../../../src/adapters/memory/process-runner.js';
import { failure as errorOf } from '../../../../src/domain/core/errors.js';
import { opensslTime } from '../../../../src/domain/trust/certificate.js';
import type { Credentials } from '../../../../src/ports/channel.js';
import { serve } from '../../../../src/sdk/agent/serve.js';
import { failure, value } from '../../../contract/result.js';
import { eventsOf } from '../../../support/fleet/events.js';
import { agentContext, servingAgent, trustedSerial } from '../../../support/fleet/memory-agents.js';
import { certificateOf, deferred } from '../../../support/network/network.js';
import { testCa } from '../../../support/network/test-pki.js';

const routes = [
  { method: 'POST', path: '/run' },
  { method: 'POST', path: '/ping' },
  { method: 'GET', path: '/capabilities' },
  { method: 'GET', path: '/nothing' },
  { method: 'POST', path: '/rotate-serial' },
];

const forbidden = (path: string) =>
  path === '/capabilities' ? { error: 'forbidden' } : { error: 'serial mismatch', status: 'forbidden' };

describe('who may ask', () => {
  it.each(routes)(
    'on $path, nobody with a serial that is not trusted, and no body is read',
    async (route) => {
      const { ask, asked, events } = await servingAgent();
      for (const serial of ['beef', '', 'abc12', 'abc1234', 'ABC123', '0abc123', undefined]) {
        // There, a dispatcher may have something to say for itself: see below.
        const uris = route.path === '/rotate-serial' ? ['ctrl-exec:agent:control'] : undefined;
        const told = await ask({ ...route, serial, ...(uris && { uris }) });
        expect(told).toMatchObject({ status: 403, json: forbidden(route.path), bodyReads: 0 });
      }
      expect(asked).toEqual([]);
      expect(events.events.filter(({ action }) => action === 'request-refused').length).toBe(7);
    },
  );

  it.each(routes)(
    'on $path, nobody with a revoked serial, also a trusted one, and no body is read',
    async (route) => {
      const { ask, asked } = await servingAgent({ revoked: `${trustedSerial.toUpperCase()}\n0xDEAD\n` });
      for (const serial of [trustedSerial, 'dead'])
        expect(await ask({ ...route, serial })).toMatchObject({
          status: 403,
          json: { error: 'certificate revoked' },
          bodyReads: 0,
        });
      expect(asked).toEqual([]);
    },
  );

  it('on /rotate-serial, a dispatcher that is not trusted is heard if it signs, and then refused as any other', async () => {
    const { ask, asked, events, keyStore } = await servingAgent();
    const body = { serial: 'beef', action: 'add' };
    const before = value(await keyStore.read(['trusted-dispatchers']));
    const unsigned = await ask({ path: '/rotate-serial', serial: 'beef', body, unsigned: true });
    expect(unsigned).toMatchObject({ status: 401, json: { error: 'signature required' }, bodyReads: 0 });
    for (const each of [body, { ...body, serial: 'cafe' }, { ...body, succession: [] }, 'nonsense'])
      expect(await ask({ path: '/rotate-serial', serial: 'beef', body: each })).toMatchObject({
        status: 403,
        json: forbidden('/rotate-serial'),
      });
    expect(value(await keyStore.read(['trusted-dispatchers']))).toEqual(before);
    expect(eventsOf(events, 'succession-refused').map(({ fields }) => fields.serial)).toEqual(['beef']);
    expect(asked).toEqual([]);
    expect((await ask({ path: '/ping', serial: 'beef' })).status).toBe(403);
  });

  it('nobody whose certificate is out of date, of another CA or not for clients, also with a trusted serial', async () => {
    const { ask, ca, clock } = await servingAgent();
    const dates = {
      notBefore: new Date(clock.now() - 7_200_000),
      notAfter: new Date(clock.now() + 7_200_000),
    };
    const asked = {
      ...dates,
      serial: trustedSerial,
      usages: ['clientAuth'],
      uris: ['ctrl-exec:dispatcher:control'],
    } as const;
    const good = await ca.issue(asked);
    const bad: [Credentials, RegExp][] = [
      [
        await ca.issue({ ...asked, notAfter: new Date(clock.now() - 1000) }),
        /^certificate expired at 2026-05-06T07:08:08/,
      ],
      [
        await ca.issue({ ...asked, notBefore: new Date(clock.now() + 1000) }),
        /^certificate not valid before 2026-05-06T07:08:10/,
      ],
      [await ca.issue({ ...asked, usages: ['serverAuth'] }), /^certificate not for clientAuth$/],
      [await (await testCa()).issue(asked), /^certificate of another CA$/],
    ];
    for (const path of ['/run', '/ping', '/rotate-serial']) {
      expect((await ask({ path, as: good })).status).toBe(200);
      for (const [as, error] of bad)
        expect(await ask({ path, as })).toMatchObject({
          status: 403,
          json: { error: expect.stringMatching(error) },
          bodyReads: 0,
        });
    }
  });

  it('nobody at an agent that trusts nobody', async () => {
    const { ask } = await servingAgent({ trust: '# nobody\n' });
    for (const serial of [trustedSerial, '', 'none', undefined])
      expect((await ask({ path: '/ping', serial })).status).toBe(403);
  });

  it('a serial of digits in the revocations revokes both its readings', async () => {
    const { ask } = await servingAgent({ trust: '10 hex\na decimal\n11 other\n', revoked: '10\n' });
    const statuses = await Promise.all(
      ['10', 'a', '11'].map(async (serial) => (await ask({ path: '/ping', serial })).status),
    );
    expect(statuses).toEqual([403, 403, 200]);
  });

  it('every trusted dispatcher, and the log says which one called', async () => {
    const { ask, events } = await servingAgent({
      trust: '0A1 first\nb2 second\n',
      executable: ['/opt/greet'],
      programs: { '/opt/greet': () => processOutcome(0) },
    });
    for (const serial of ['a1', 'b2'])
      expect(await ask({ body: { script: 'greet' }, serial })).toMatchObject({
        status: 200,
        json: { exit: 0 },
      });
    const called = eventsOf(events, 'run-start').map(({ fields }) => fields.dispatcher);
    expect(called).toEqual(['first', 'second']);
  });

  it('the refusal is logged with address, path and reason', async () => {
    const { ask, events } = await servingAgent();
    await ask({ path: '/run', serial: 'beef', address: '2001:db8::7' });
    expect(events.events.at(-1)).toEqual({
      action: 'request-refused',
      level: 'warning',
      fields: { ip: '2001:db8::7', path: '/run', serial: 'beef', name: 'control', reason: 'serial mismatch' },
    });
  });

  it('whatever an untrusted caller sends, it is refused unread', async () => {
    const { ask } = await servingAgent();
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('GET', 'POST', 'PUT', 'x'),
        fc.string().map((text) => `/${text}`),
        fc.string().filter((serial) => serial !== trustedSerial),
        async (method, path, serial) => {
          for (const unsigned of [false, true]) {
            const told = await ask({ method, path, serial, unsigned });
            expect([told.status, told.bodyReads]).toEqual([403, 0]);
          }
        },
      ),
    );
  });
});

describe('who is not recognised any more once the body is there', () => {
  const meanwhile: [string, (agent: Awaited<ReturnType<typeof servingAgent>>) => unknown, string][] = [
    [
      'revoked',
      ({ keyStore }) => keyStore.replace({ 'revoked-serials': trustedSerial }),
      'certificate revoked',
    ],
    [
      'no longer trusted',
      ({ keyStore }) => keyStore.replace({ 'trusted-dispatchers': 'beef next\n' }),
      'serial mismatch',
    ],
    [
      'no longer at an allowed address',
      ({ files }) =>
        files.files.set('/etc/ctrl-exec-agent/agent.conf', {
          bytes: new TextEncoder().encode('allowed_ips = 198.51.100.0/24\n'),
          mode: 0o644,
        }),
      'not in allowed_ips',
    ],
  ];
  const paths = ['/run', '/ping'];
  it.each(
    meanwhile.flatMap(([what, change, reason]) => paths.map((path) => ({ what, change, reason, path }))),
  )('because it is $what is refused on $path, and nothing is done', async ({ change, reason, path }) => {
    let ran = 0;
    const agent = await servingAgent({
      programs: {
        '/opt/greet': () => {
          ran += 1;
          return processOutcome(0);
        },
      },
    });
    const told = await agent.ask({
      path,
      body: { script: 'greet' },
      whileSending: async () => {
        await change(agent);
        value(await agent.serving.reload());
      },
    });
    expect(told).toMatchObject({ status: 403, json: { error: reason }, bodyReads: 1 });
    expect(ran).toBe(0);
    expect(agent.asked).toEqual([]);
    expect(eventsOf(agent.events, 'request-refused').map(({ fields }) => fields.reason)).toEqual([reason]);
    expect(eventsOf(agent.events, 'ping-answered')).toEqual([]);
  });

  it('does not concern a reload that changes nothing for it', async () => {
    const agent = await servingAgent({ programs: { '/opt/greet': () => processOutcome(0) } });
    const whileSending = async () => value(await agent.serving.reload());
    const told = await agent.ask({ body: { script: 'greet' }, whileSending });
    expect(told).toMatchObject({ status: 200, json: { exit: 0 } });
  });
});

describe('which addresses may connect', () => {
  it('are all of them unless allowed_ips says otherwise', async () => {
    const { listening } = await servingAgent();
    expect(listening.admit?.('203.0.113.9')).toBe(true);
  });

  it('are those of allowed_ips, and others are logged', async () => {
    const { listening, events } = await servingAgent({
      configuration: 'allowed_ips = 192.0.2.0/24, 2001:db8::/32\n',
    });
    const accepted = ['192.0.2.7', '2001:db8::1', '192.0.3.1', '::1', 'nonsense'].map((address) =>
      listening.admit?.(address),
    );
    expect(accepted).toEqual([true, true, false, false, false]);
    expect(events.events.filter(({ action }) => action === 'connection-refused').length).toBe(3);
  });

  it('follow a reload', async () => {
    const { listening, files, serving } = await servingAgent();
    const text = new TextEncoder().encode('allowed_ips = 192.0.2.0/24\n');
    files.files.set('/etc/ctrl-exec-agent/agent.conf', { bytes: text, mode: 0o644 });
    expect(listening.admit?.('203.0.113.9')).toBe(true);
    value(await serving.reload());
    expect(listening.admit?.('203.0.113.9')).toBe(false);
  });
});

describe('routes', () => {
  it.each([
    ['GET', '/run'],
    ['GET', '/ping'],
    ['POST', '/capabilities'],
    ['POST', '/run/'],
    ['POST', '/RUN'],
    ['POST', '/../run'],
    ['GET', '/'],
    ['DELETE', '/run'],
  ])('%s %s is not one', async (method, path) => {
    const { ask } = await servingAgent();
    expect(await ask({ method, path })).toMatchObject({ status: 404, json: { error: 'not found' } });
    // Who does not sign does not even learn that.
    expect(await ask({ method, path, unsigned: true })).toMatchObject({
      status: 401,
      json: { error: 'signature required' },
      bodyReads: 0,
    });
  });

  it.each(['/run', '/ping'])('%s answers a body that is too large or incomplete', async (path) => {
    const { ask } = await servingAgent();
    const limit = 1_048_576;
    const large = errorOf('too_large', 'too large', { what: 'body', limit });
    const cut = errorOf('connection_failed', 'closed', { host: 'x', reason: 'ECONNRESET' });
    expect(await ask({ path, bodyFails: large })).toMatchObject({
      status: 413,
      json: { error: expect.stringContaining(String(limit)) },
    });
    expect((await ask({ path, bodyFails: cut })).status).toBe(400);
  });

  it('the listener is given the limits of the configuration and the CAs of the identity', async () => {
    const { listening, ca, own } = await servingAgent({
      configuration: 'max_connections = 7\nport = 1234\nbind = ::1\n',
    });
    expect(listening).toMatchObject({
      bind: '::1',
      port: 1234,
      maxBody: 1_048_576,
      maxConnections: 7,
      credentials: { key: own.key, certificate: own.certificate },
    });
    expect(listening.clientCas?.map((pem) => pem.trim())).toEqual([ca.pem.trim()]);
  });

  it('what the caller of serve says goes before the configuration', async () => {
    const { context, heard } = await agentContext({ configuration: 'port = 1234\nbind = ::1\n' });
    value(await serve(context, { port: 0, bind: '127.0.0.1' }));
    expect(heard.options).toMatchObject({ port: 0, bind: '127.0.0.1' });
  });
});

describe('/ping', () => {
  it('tells name, version, expiry and the reqid', async () => {
    const { ask, own, events } = await servingAgent();
    const told = await ask({ path: '/ping', body: { reqid: 'b7c3d1e400010000' } });
    expect(told).toMatchObject({
      status: 200,
      headers: [['content-type', 'application/json']],
      json: {
        status: 'ok',
        host: 'vm-7a3f',
        version: '1.2.3',
        expiry: opensslTime(certificateOf(own).notAfter),
        staged: false,
        reqid: 'b7c3d1e400010000',
      },
    });
    expect(events.events.at(-1)).toEqual({
      action: 'ping-answered',
      fields: { reqid: 'b7c3d1e400010000', dispatcher: 'control', ip: '192.0.2.1' },
    });
    expect(told.json['expiry']).toMatch(/^[A-Z][a-z]{2} [ 1-3]\d \d\d:\d\d:\d\d \d{4} GMT$/);
  });

  it.each(['', 'nonsense', '[]', '{"reqid":5}', '{}'])('answers without a reqid to %j', async (body) => {
    const { ask } = await servingAgent();
    const told = await ask({ path: '/ping', body });
    expect(told.status).toBe(200);
    expect(told.json).not.toHaveProperty('reqid');
  });
});

describe('max_runs', () => {
  it('is the number of runs at a time: a further one is told when to come back', async () => {
    const ends = [deferred(), deferred()];
    const started = [deferred(), deferred()];
    let count = 0;
    const { ask, events } = await servingAgent({
      configuration: 'max_runs = 2\n',
      scripts: 'r1 = /opt/greet\nr2 = /opt/greet\nr3 = /opt/greet\n',
      programs: {
        '/opt/greet': async () => {
          const mine = count++;
          started[mine]?.resolve();
          await ends[mine]?.promise;
          return processOutcome(0);
        },
      },
    });
    const body = (reqid: string) => ({ script: reqid, reqid });
    const under = [ask({ body: body('r1') }), ask({ body: body('r2') })];
    await Promise.all(started.map(({ promise }) => promise));
    const refused = await ask({ body: body('r3') });
    expect(refused.status).toBe(503);
    expect(refused.headers).toContainEqual(['retry-after', expect.stringMatching(/^[1-9]\d*$/)]);
    expect(refused.json['error']).toContain('2 runs');
    expect(events.events.at(-1)).toMatchObject({ action: 'run-refused', level: 'warning' });
    expect((await ask({ path: '/ping', body: {} })).status).toBe(200);

    ends[0]?.resolve();
    await under[0];
    // What was refused was not begun, and its id is not used up.
    expect(await ask({ body: body('r3') })).toMatchObject({ status: 200, json: { exit: 0 } });
    ends[1]?.resolve();
    await under[1];
    expect(count).toBe(3);
  });

  it('is given back also by runs that were refused or could not be started', async () => {
    const { ask, policy } = await servingAgent({ configuration: 'max_runs = 1\n' });
    for (const body of ['nonsense', { script: 'other' }, { script: 'greet' }, { script: 'greet', args: 1 }])
      expect((await ask({ body })).status).toBe(200);
    policy.outcome = { kind: 'exited', code: 1 };
    expect((await ask({ body: { script: 'greet' } })).status).toBe(200);
    expect((await ask({ body: { script: 'greet' } })).status).toBe(200);
  });

  it('is given back by a run whose adapter throws', async () => {
    let broken = true;
    const { ask } = await servingAgent({
      configuration: 'max_runs = 1\n',
      programs: {
        '/opt/greet': () => {
          if (broken) throw new Error('a bug');
          return processOutcome(0);
        },
      },
    });
    await expect(ask({ body: { script: 'greet' } })).rejects.toThrow('a bug');
    broken = false;
    expect(await ask({ body: { script: 'greet' } })).toMatchObject({ status: 200, json: { exit: 0 } });
  });
});

describe('an agent that cannot serve', () => {
  it('because it is not paired says how to pair', async () => {
    const { context, heard } = await agentContext({ paired: false });
    const refused = failure(await serve(context));
    expect(refused).toMatchObject({
      code: 'identity_missing',
      role: 'agent',
      message: expect.stringContaining('request-pairing'),
    });
    expect(heard.options).toBeUndefined();
  });

  it('because its configuration is wrong does not listen', async () => {
    const { context, heard } = await agentContext({ configuration: 'port = many\n' });
    expect(failure(await serve(context))).toMatchObject({
      code: 'config_invalid',
      file: '/etc/ctrl-exec-agent/agent.conf',
      line: 1,
    });
    expect(heard.options).toBeUndefined();
  });

  it('because the port is taken says that first, and opens nothing', async () => {
    const taken = errorOf('listen_failed', 'taken', { bind: '::', port: 7443, reason: 'EADDRINUSE' });
    const untouched = () => expect.unreachable();
    const { context, events } = await agentContext({
      ports: { listener: { listen: () => errAsync(taken) }, journal: untouched },
    });
    expect(failure(await serve(context))).toEqual(taken);
    expect(events.events).toEqual([]);
  });
});
