import { errAsync, okAsync, ResultAsync } from 'neverthrow';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { processOutcome } from '../../../../src/adapters/memory/process-runner.js';
import { memoryRunJournal } from '../../../../src/adapters/memory/run-journal.js';
import { type CtrlExecError, failure } from '../../../../src/domain/core/errors.js';
import { parseJsonObject } from '../../../../src/domain/core/json.js';
import type { HeaderList } from '../../../../src/domain/protocol/http-message.js';
import type { ClaimedNonce, RunJournal } from '../../../../src/ports/run-journal.js';
import { checkAnswer } from '../../../../src/sdk/protocol/message-signing.js';
import { value } from '../../../contract/result.js';
import { eventsOf } from '../../../support/fleet/events.js';
import {
  type AgentOptions,
  type Asked,
  dispatcherCredentials,
  type Sent,
  servingAgent,
  signerOf,
  trustedSerial,
} from '../../../support/fleet/memory-agents.js';
import { crypto } from '../../../support/fleet/memory-fleet.js';
import { deferred } from '../../../support/network/network.js';
import { testCa } from '../../../support/network/test-pki.js';

vi.mock('../../../../src/domain/core/json.js', { spy: true });
const parser = vi.mocked(parseJsonObject);
beforeEach(() => parser.mockClear());

const reqid = 'a3f9b2c100010002';
const run = { path: '/run', body: { script: 'greet', reqid } };

/** An agent of which everything is watched that must not happen before a signature holds. */
async function watched(options: AgentOptions & { journal?: RunJournal } = {}) {
  const ran: string[] = [];
  const entered: ClaimedNonce[] = [];
  const begun: string[] = [];
  const { journal = memoryRunJournal(), ...others } = options;
  const agent = await servingAgent({
    programs: {
      '/opt/greet': ({ args }) => {
        ran.push(args.join(' '));
        return processOutcome(0, `run ${ran.length}`);
      },
    },
    ...others,
    ports: {
      journal: () => ({
        ...journal,
        claim: (claim, now) => {
          if (claim.nonce) entered.push(claim.nonce);
          if (claim.run) begun.push(claim.run.reqid);
          return journal.claim(claim, now);
        },
      }),
      ...others.ports,
    },
  });
  parser.mockClear();
  const nothing = () => {
    expect(parser).not.toHaveBeenCalled();
    expect({ ran, entered, begun, asked: agent.asked }).toEqual({
      ran: [],
      entered: [],
      begun: [],
      asked: [],
    });
    const done = ['run-start', 'run-refused', 'ping-answered', 'capabilities-answered', 'serial-trusted'];
    expect(agent.events.events.filter(({ action }) => done.includes(action))).toEqual([]);
  };
  return { ...agent, ran, entered, begun, nothing, journal };
}

const withHeader = (sent: Sent, name: string, change: (value: string) => string | undefined): Sent => ({
  ...sent,
  headers: sent.headers.flatMap(([key, value]) => {
    const next = key === name ? change(value) : value;
    return next === undefined ? [] : [[key, next] as const];
  }),
});

const add = (sent: Sent, ...headers: HeaderList): Sent => ({
  ...sent,
  headers: [...sent.headers, ...headers],
});

const routes = [
  { path: '/run', body: { script: 'greet', args: ['a'] } },
  { path: '/ping', body: { reqid } },
  { method: 'GET', path: '/capabilities' },
  { path: '/rotate-serial', body: { serial: 'beef', action: 'add' } },
  { path: '/renew', body: { key: 'new' } },
  { path: '/renew-complete', body: { cert: 'x' } },
  { path: '/v2/crl', body: { crl_pem: 'x' } },
  { path: '/v2/cas', body: { ca_pem: ['x'] } },
  { path: '/nowhere', body: {} },
] as const;

type Agent = Awaited<ReturnType<typeof watched>>;

/** Makes of a good request a bad one. */
interface Bad {
  readonly what: string;
  /** How it is refused. */
  readonly error: string;
  /** What is logged. */
  readonly reason: RegExp;
  readonly make: (agent: Agent, asked: Asked) => Promise<Sent>;
  /** The body has to be read to see it. */
  readonly body?: 'read';
  /** No dispatcher sends such a thing, and none would take the answer to it for one to its request. */
  readonly impossible?: true;
  /** One of each way to be refused is tried on every route; whatever else is refused goes one of these ways. */
  readonly everywhere?: true;
}

const bad: readonly Bad[] = [
  {
    what: 'is not signed',
    error: 'signature required',
    reason: /tag/,
    make: ({ make }, asked) => make({ ...asked, unsigned: true }),
    everywhere: true,
  },
  {
    what: 'has signatures of others only',
    error: 'signature required',
    reason: /tag/,
    make: async ({ make }, asked) => {
      const sent = await make({ ...asked, unsigned: true });
      return add(sent, ['signature-input', 'x=("@method");created=1;tag="other"'], ['signature', 'x=:AAAA:']);
    },
  },
  {
    what: 'has a broken signature',
    error: 'signature invalid',
    reason: /does not hold/,
    make: async ({ make }, asked) =>
      withHeader(await make(asked), 'signature', (value) =>
        value.replace(/:(.)/, (_, c) => (c === 'A' ? ':B' : ':A')),
      ),
    everywhere: true,
  },
  {
    what: 'is signed by another dispatcher that is trusted as well',
    error: 'signature invalid',
    reason: /keyid/,
    make: async ({ make }, asked) => make({ ...asked, signer: signerOf(await dispatcherCredentials('b2')) }),
  },
  {
    what: 'is signed by another key under the name of the right certificate',
    error: 'signature invalid',
    reason: /does not hold/,
    make: async ({ make }, asked) => {
      const { certificate } = signerOf(await dispatcherCredentials(trustedSerial));
      const { key } = signerOf(await dispatcherCredentials('b2'));
      return make({ ...asked, signer: { key, certificate } });
    },
  },
  {
    what: 'was signed for another path',
    error: 'signature invalid',
    reason: /does not hold/,
    make: async ({ make }, asked) => ({
      ...(await make({ ...asked, path: '/elsewhere' })),
      path: asked.path ?? '',
    }),
  },
  {
    what: 'was signed for another method',
    error: 'signature invalid',
    reason: /does not hold/,
    make: async ({ make }, asked) => ({
      ...(await make({ ...asked, method: 'PUT' })),
      method: asked.method ?? 'POST',
    }),
  },
  {
    what: 'has got a query on its way',
    error: 'signature invalid',
    reason: /does not hold/,
    make: async ({ make }, asked) => ({ ...(await make(asked)), query: '?x=1' }),
  },
  {
    what: 'has another host than was signed',
    error: 'signature invalid',
    reason: /does not hold/,
    make: async ({ make }, asked) => withHeader(await make(asked), 'host', () => 'web-02:7443'),
  },
  {
    what: 'is without its host',
    error: 'signature invalid',
    reason: /./,
    make: async ({ make }, asked) => withHeader(await make(asked), 'host', () => undefined),
    impossible: true,
  },
  {
    what: 'has two hosts',
    error: 'signature invalid',
    reason: /host is there more than once/,
    make: async ({ make }, asked) => add(await make(asked), ['host', 'web-01:7443']),
    impossible: true,
  },
  {
    what: 'has another digest than was signed',
    error: 'signature invalid',
    reason: /does not hold/,
    make: async ({ make }, asked) => {
      const other = await make({ ...asked, body: 'another' });
      const digest = other.headers.find(([name]) => name === 'content-digest')?.[1] ?? '';
      return withHeader(await make(asked), 'content-digest', () => digest);
    },
  },
  {
    what: 'says another time of expiry than was signed',
    error: 'signature invalid',
    reason: /does not hold/,
    make: async ({ make }, asked) =>
      withHeader(await make(asked), 'signature-input', (value) =>
        value.replace(/expires=(\d+)/, (_, seconds) => `expires=${Number(seconds) + 1}`),
      ),
  },
  {
    what: 'has another body than was signed',
    error: 'signature invalid',
    reason: /digest differs/,
    make: async ({ make }, asked) => ({
      ...(await make(asked)),
      body: new TextEncoder().encode('{"script":"greet"}'),
    }),
    body: 'read',
    everywhere: true,
  },
  {
    what: 'has lost its body on its way',
    error: 'signature invalid',
    reason: /digest differs/,
    make: async ({ make }, asked) => ({
      ...(await make({ ...asked, body: 'some' })),
      body: new Uint8Array(),
    }),
    body: 'read',
  },
  {
    what: 'has expired',
    error: 'signature expired',
    reason: /^expired 31\.5 s ago/,
    make: ({ make, clock }, asked) => make({ ...asked, signedAt: clock.now() - 91_000 }),
    everywhere: true,
  },
  {
    what: 'is of the future',
    error: 'signature expired',
    reason: /^created 31\.5 s in the future/,
    make: ({ make, clock }, asked) => make({ ...asked, signedAt: clock.now() + 32_000 }),
    impossible: true,
  },
  {
    what: 'is valid for longer than any may be',
    error: 'signature invalid',
    reason: /expires is 301 s after created/,
    make: ({ make }, asked) => make({ ...asked, lifetime: 301 }),
  },
  {
    what: 'is signed for another agent',
    error: 'wrong target',
    reason: /another key/,
    make: async ({ make, ca }, asked) => {
      const other = signerOf(await ca.issue({ commonName: 'web-01', usages: ['serverAuth'] }));
      return make({ ...asked, target: other.certificate.spki });
    },
    everywhere: true,
  },
];

/** One with a body, that changes something, and one of neither. */
/** Those that enter the record of requests. */
// What is not there changes nothing.
const changing = routes.filter(
  ({ path }) => !['/ping', '/capabilities', '/v2/crl', '/nowhere'].includes(path),
);

const both = routes.filter(({ path }) => path === '/run' || path === '/capabilities');

describe.each(bad.map((each) => [each.what, each] as const))(
  'a request that %s',
  (_what, { error, reason, make, body, impossible, everywhere }) => {
    it.each(everywhere ? routes : both)(
      `is refused on $path, and nothing of it is parsed, entered or done: ${error}`,
      async (route) => {
        const agent = await watched({ trust: `${trustedSerial} control\nb2 other\n` });
        const told = await agent.send(await make(agent, route), { verify: !impossible });
        const headers = told.answer.headers.map(([name]) => name);
        expect(headers).toEqual(expect.arrayContaining(['signature-input', 'signature']));
        expect({ status: told.status, json: told.json }).toEqual({ status: 401, json: { error } });
        expect(told.bodyReads).toBe(body === 'read' ? 1 : 0);
        agent.nothing();
        expect(eventsOf(agent.events, 'request-unverified')).toEqual([
          {
            action: 'request-unverified',
            level: 'warning',
            fields: {
              ip: '192.0.2.1',
              path: route.path,
              dispatcher: 'control',
              refused: error,
              reason: expect.stringMatching(reason),
            },
          },
        ]);
        const { 'dispatcher-certificates': learnt } = value(
          await agent.keyStore.read(['dispatcher-certificates']),
        );
        expect(learnt).toBeUndefined();
        // It was for that that it was refused: the request that it was made of is accepted.
        expect((await agent.ask(route)).status).not.toBe(401);
      },
    );
  },
);

it('a signature holds from 30 s before it was made to 30 s after it has expired', async () => {
  const { ask, clock } = await watched();
  for (const signedAt of [clock.now() + 30_000, clock.now() - 89_500])
    expect((await ask({ path: '/ping', signedAt })).status).toBe(200);
});

it('refusals are signed by the agent that gives them, too', async () => {
  const agent = await watched();
  const other = signerOf(await agent.ca.issue({ commonName: 'web-01', usages: ['serverAuth'] })).certificate;
  for (const asked of [
    { ...run, unsigned: true },
    { ...run, serial: 'beef' },
    { ...run, serial: 'beef', unsigned: true },
    { ...run, signedAt: 0 },
    { ...run, target: other.spki },
    { ...run, bodyFails: failure('too_large', 'too large', { what: 'body', limit: 1 }) },
  ]) {
    const sent = await agent.make(asked);
    const { answer } = await agent.send(sent);
    expect(answer.status).toBeGreaterThanOrEqual(400);
    const [now, certificate] = [agent.clock.now(), sent.peer.presented];
    const verdict = (of: typeof answer, by = certificate) =>
      checkAnswer(crypto, of, sent, { certificate: by, now }).isOk();
    expect(verdict(answer)).toBe(true);
    expect(verdict(answer, other)).toBe(false);
    expect(verdict({ ...answer, status: 200 })).toBe(false);
    expect(verdict({ ...answer, body: new TextEncoder().encode('{"exit":0}') })).toBe(false);
  }
  agent.nothing();
});

describe('a request that is sent again byte for byte', () => {
  it.each(changing)('is refused as replayed on $path', async (route) => {
    const agent = await watched();
    const sent = await agent.make(route);
    expect((await agent.send(sent)).status).not.toBe(401);
    const [ran, calls] = [agent.ran.length, parser.mock.calls.length];
    const { address } = { address: '192.0.2.9' };
    for (const again of [sent, { ...sent, peer: { ...sent.peer, address } }]) {
      const told = await agent.send(again);
      expect({ status: told.status, json: told.json }).toEqual({ status: 401, json: { error: 'replayed' } });
    }
    expect([agent.ran.length, parser.mock.calls.length]).toEqual([ran, calls]);
    expect(eventsOf(agent.events, 'request-unverified').map(({ fields }) => fields)).toEqual([
      {
        ip: '192.0.2.1',
        path: route.path,
        dispatcher: 'control',
        refused: 'replayed',
        reason: 'seen before',
      },
      { ip: address, path: route.path, dispatcher: 'control', refused: 'replayed', reason: 'seen before' },
    ]);
  });

  it('is executed once, however many come at a time and whether it has an id or not', async () => {
    for (const body of [{ script: 'greet' }, { script: 'greet', reqid }]) {
      const agent = await watched();
      const sent = await agent.make({ path: '/run', body });
      const told = await Promise.all(Array.from({ length: 8 }, () => agent.send(sent)));
      expect(told.map(({ status }) => status).sort()).toEqual([200, ...Array(7).fill(401)]);
      expect(agent.ran).toHaveLength(1);
    }
  });

  it.each([
    { path: '/ping', body: { reqid } },
    { method: 'GET', path: '/capabilities' },
  ])('is answered again on $path, which changes nothing', async (route) => {
    const agent = await watched();
    const sent = await agent.make(route);
    for (const _ of [1, 2]) expect((await agent.send(sent)).status).toBe(200);
    expect(agent.entered).toEqual([]);
  });
});

describe('the record of requests', () => {
  it('has a request before anything comes of it, for as long as that is accepted', async () => {
    const order: string[] = [];
    const gate = deferred();
    const inner = memoryRunJournal();
    const entries: ClaimedNonce[] = [];
    const agent = await watched({
      programs: {
        '/opt/greet': () => {
          order.push('run');
          return processOutcome(0);
        },
      },
      ports: {
        hook: () => ({
          ask: () => {
            order.push('hook');
            return okAsync({ kind: 'exited', code: 0 });
          },
        }),
        journal: () => ({
          ...inner,
          claim: (claim, now) => {
            if (!claim.nonce) return inner.claim(claim, now);
            order.push('entering');
            entries.push(claim.nonce);
            return ResultAsync.fromSafePromise(gate.promise)
              .andThen(() => inner.claim(claim, now))
              .map((claimed) => {
                order.push('entered');
                return claimed;
              });
          },
        }),
      },
    });
    const signedAt = agent.clock.now();
    const running = agent.ask({ ...run, lifetime: 40, nonce: new Uint8Array(16).fill(7), signedAt });
    await vi.waitFor(() => expect(order).toEqual(['entering']));
    expect(parser).not.toHaveBeenCalled();
    gate.resolve();
    expect(await running).toMatchObject({ status: 200, json: { exit: 0 } });
    expect(order).toEqual(['entering', 'entered', 'hook', 'run']);
    const { der } = signerOf(await dispatcherCredentials(trustedSerial)).certificate;
    expect(entries).toEqual([
      {
        keyid: `x5t-s256:${Buffer.from(crypto.sha256(der)).toString('base64url')}`,
        nonce: Buffer.alloc(16, 7).toString('base64url'),
        until: (Math.floor(signedAt / 1000) + 40 + 30) * 1000,
      },
    ]);
  });

  it('that is full: 503 and when to come back, nothing is run, reads go on, and it has room again in time', async () => {
    const agent = await watched({ journal: memoryRunJournal({ nonces: 1 }) });
    expect(await agent.ask(run)).toMatchObject({ status: 200, json: { exit: 0 } });
    for (const asked of [run, { ...run, body: { script: 'greet' } }, { path: '/renew', body: {} }]) {
      const told = await agent.ask(asked);
      expect(told).toMatchObject({ status: 503, json: { error: expect.stringContaining('busy') } });
      expect(told.headers).toContainEqual(['retry-after', '60']);
    }
    expect(agent.ran).toHaveLength(1);
    expect((await agent.ask({ path: '/ping' })).status).toBe(200);
    expect((await agent.ask({ method: 'GET', path: '/capabilities' })).status).toBe(200);
    await agent.clock.advance(89_000);
    expect((await agent.ask({ path: '/run', body: { script: 'greet' } })).status).toBe(503);
    await agent.clock.advance(2_000);
    expect((await agent.ask({ path: '/run', body: { script: 'greet' } })).status).toBe(200);
    expect(agent.ran).toHaveLength(2);
  });

  it.each([
    ['full', memoryRunJournal({ nonces: 1 })],
    ['lost', memoryRunJournal({ complete: false })],
  ])('that is %s keeps no revocation list away', async (_, journal) => {
    const agent = await watched({ journal });
    await agent.ask(run);
    expect([401, 503]).toContain((await agent.ask(run)).status);
    const sent = await agent.make({ path: '/v2/crl', body: { crl_pem: 'x' } });
    for (const _time of [1, 2])
      expect(await agent.send(sent)).toMatchObject({ status: 400, json: { status: 'error' } });
  });

  it('of which one certificate has its share: 503 for that one, and the others go on', async () => {
    const agent = await watched({
      journal: memoryRunJournal({ nonces: 8 }),
      trust: `${trustedSerial} control\nabd control\nabe control\n`,
    });
    const statuses = async (serial: string, times: number) => {
      const found: number[] = [];
      for (let time = 0; time < times; time += 1) found.push((await agent.ask({ ...run, serial })).status);
      return found;
    };
    expect(await statuses(trustedSerial, 6)).toEqual([200, 200, 503, 503, 503, 503]);
    expect(await statuses('abd', 2)).toEqual([200, 200]);
    expect(await statuses('abe', 3)).toEqual([200, 200, 503]);
    await agent.clock.advance(91_000);
    expect(await statuses(trustedSerial, 3)).toEqual([200, 200, 503]);
  });

  it('that cannot be written: 503, nothing is run, and the log says why', async () => {
    const broken = failure('file_failed', 'disk full', { path: '/x', operation: 'write', reason: 'ENOSPC' });
    const journal = { ...memoryRunJournal(), claim: () => errAsync(broken) };
    const agent = await watched({ journal });
    const told = await agent.ask(run);
    expect(told).toMatchObject({ status: 503, json: { error: expect.stringContaining('busy') } });
    expect(JSON.stringify(told.json)).not.toContain('disk');
    expect(agent.ran).toEqual([]);
    expect(parser).not.toHaveBeenCalled();
    expect(eventsOf(agent.events, 'internal-error').map(({ fields }) => fields.reason)).toEqual([
      'disk full',
    ]);
    expect((await agent.ask({ path: '/ping' })).status).toBe(200);
  });

  it('that cannot be opened lets pings through, and nothing that changes something', async () => {
    const broken = failure('file_failed', 'no space left', {
      path: '/x',
      operation: 'write',
      reason: 'ENOSPC',
    });
    const agent = await watched({
      journal: {
        ...memoryRunJournal(),
        complete: () => errAsync(broken),
        claim: () => errAsync(broken),
      },
    });
    expect(eventsOf(agent.events, 'warning')).toContainEqual(
      expect.objectContaining({ fields: { reason: 'no space left' } }),
    );
    expect((await agent.ask({ path: '/ping' })).status).toBe(200);
    expect(await agent.ask(run)).toMatchObject({ status: 401, json: { error: 'replayed' } });
    await agent.clock.advance(31_000);
    expect(await agent.ask(run)).toMatchObject({
      status: 503,
      json: { error: 'busy: requests cannot be recorded' },
    });
    expect(agent.ran).toEqual([]);
  });
});

describe('an agent that has lost its record of requests', () => {
  it.each(changing)('refuses for 30 s what may be a repetition: $path', async (route) => {
    const agent = await watched({ journal: memoryRunJournal({ complete: false }) });
    expect(eventsOf(agent.events, 'replay-record-lost')).toEqual([
      { action: 'replay-record-lost', level: 'warning', fields: { seconds: 30 } },
    ]);
    const early = await agent.make(route);
    const late = await agent.make({ ...route, signedAt: agent.clock.now() + 29_000 });
    for (const [seconds, wait] of [
      [30, 29_000],
      [1, 1_000],
    ] as const) {
      const told = await agent.ask(route);
      expect(told.status).toBe(401);
      expect(told.json).toEqual({
        error: 'replayed',
        detail: expect.stringContaining(`try again in ${seconds} s`),
      });
      await agent.clock.advance(wait);
    }
    agent.nothing();
    expect(eventsOf(agent.events, 'request-unverified').map(({ fields }) => fields.refused)).toEqual([
      'replayed',
      'replayed',
    ]);

    // What is signed from then on cannot be of before; what was signed earlier still may.
    await agent.clock.advance(1_000);
    expect((await agent.ask(route)).status).not.toBe(401);
    for (const sent of [early, late]) expect((await agent.send(sent)).json['error']).toBe('replayed');
  });

  it('answers pings and tells its capabilities meanwhile', async () => {
    const { ask } = await watched({ journal: memoryRunJournal({ complete: false }) });
    expect((await ask({ path: '/ping' })).status).toBe(200);
    expect((await ask({ method: 'GET', path: '/capabilities' })).status).toBe(200);
  });

  it('is none where the record is whole', async () => {
    const { ask, events } = await watched();
    expect(await ask(run)).toMatchObject({ status: 200, json: { exit: 0 } });
    expect(eventsOf(events, 'replay-record-lost')).toEqual([]);
  });
});

describe('a request id', () => {
  const both = `${trustedSerial} control\nb2 other\nc3 control\n`;

  it('runs once: with another signature it is given the answer of before, byte for byte', async () => {
    const agent = await watched();
    const first = await agent.ask(run);
    expect(first.json).toEqual({ script: 'greet', exit: 0, stdout: 'run 1', stderr: '', reqid });
    for (const body of [run.body, { ...run.body, args: ['other'] }]) {
      const again = await agent.ask({ path: '/run', body });
      expect([again.status, again.headers]).toEqual([first.status, first.headers]);
      expect(Buffer.compare(again.answer.body, first.answer.body)).toBe(0);
    }
    expect(agent.ran).toHaveLength(1);
    expect(eventsOf(agent.events, 'run-repeated').map(({ fields }) => fields)).toEqual(
      Array(2).fill({ script: 'greet', reqid, dispatcher: 'control', ip: '192.0.2.1', state: 'done' }),
    );
    expect(await agent.ask({ path: '/run', body: { script: 'greet', reqid: 'another' } })).toMatchObject({
      json: { stdout: 'run 2' },
    });
  });

  it('of a run that is under way: 409, and not a second run', async () => {
    const [started, end] = [deferred(), deferred()];
    let runs = 0;
    const agent = await watched({
      programs: {
        '/opt/greet': async () => {
          runs += 1;
          started.resolve();
          await end.promise;
          return processOutcome(0, 'late');
        },
      },
    });
    const first = agent.ask(run);
    await started.promise;
    const again = await agent.ask(run);
    expect({ status: again.status, json: again.json }).toEqual({
      status: 409,
      json: { status: 'running', reqid },
    });
    expect(eventsOf(agent.events, 'run-repeated').map(({ fields }) => fields.state)).toEqual(['running']);
    end.resolve();
    expect((await agent.ask(run)).answer.body).toEqual((await first).answer.body);
    expect(runs).toBe(1);
  });

  it('is the own of each dispatcher, whatever serials that has', async () => {
    const agent = await watched({ trust: both });
    const outputs = [];
    for (const serial of [trustedSerial, 'b2', 'c3', trustedSerial, 'b2'])
      outputs.push((await agent.ask({ ...run, serial })).json['stdout']);
    expect(outputs).toEqual(['run 1', 'run 2', 'run 1', 'run 1', 'run 2']);
    expect(agent.ran).toHaveLength(2);
  });

  it('that has run another script runs nothing', async () => {
    const agent = await watched({
      scripts: 'greet = /opt/greet\nother = /opt/other\n',
      executable: ['/opt/greet', '/opt/other'],
    });
    await agent.ask(run);
    const told = await agent.ask({ path: '/run', body: { script: 'other', reqid } });
    expect([told.status, told.json]).toEqual([
      200,
      { script: 'other', exit: -1, error: 'this request id has run greet before', reqid },
    ]);
    expect(agent.ran).toHaveLength(1);
  });

  const diskFull: CtrlExecError<'file_failed'> = failure('file_failed', 'disk full', {
    path: '/x',
    operation: 'write',
    reason: 'ENOSPC',
  });
  const lost = { state: 'lost', script: 'greet', startedAt: 1 } as const;
  it.each<[string, RunJournal['claim'], string]>([
    [
      'whose run was cut off by a crash',
      () => okAsync({ kind: 'known', run: lost }),
      'lost: the agent went down while the script ran',
    ],
    [
      'that cannot be recorded',
      () => errAsync(diskFull),
      'the agent cannot record the run, so it was not begun',
    ],
  ])('%s is not run: exit -1 and why', async (_what, told, error) => {
    const inner = memoryRunJournal();
    const claim: RunJournal['claim'] = (asked, now) => (asked.run ? told : inner.claim)(asked, now);
    const agent = await watched({ journal: { ...inner, claim } });
    const { status, json } = await agent.ask(run);
    expect([status, json]).toEqual([200, { script: 'greet', exit: -1, error, reqid }]);
    expect(agent.ran).toEqual([]);
  });

  it('whose answer was dropped to make room says so, and is not run again', async () => {
    const agent = await watched({ journal: memoryRunJournal({ resultBytes: 10 }) });
    expect(await agent.ask(run)).toMatchObject({ json: { exit: 0 } });
    expect((await agent.ask(run)).json).toEqual({
      script: 'greet',
      exit: -1,
      error: 'it has run, but its output is not kept any more',
      reqid,
    });
    expect(agent.ran).toHaveLength(1);
  });

  it('for which there is no room: 503 and when to come back', async () => {
    const agent = await watched({ journal: memoryRunJournal({ capacity: 1 }) });
    await agent.ask(run);
    const told = await agent.ask({ path: '/run', body: { script: 'greet', reqid: 'another' } });
    expect(told).toMatchObject({ status: 503, json: { error: expect.stringContaining('busy') } });
    expect(told.headers).toContainEqual(['retry-after', '60']);
    expect(agent.ran).toHaveLength(1);
    expect(await agent.ask({ path: '/run', body: { script: 'greet' } })).toMatchObject({ json: { exit: 0 } });
  });

  it('whose end cannot be recorded has its result given out, and the log says so', async () => {
    const agent = await watched({ journal: { ...memoryRunJournal(), end: () => errAsync(diskFull) } });
    expect(await agent.ask(run)).toMatchObject({ status: 200, json: { exit: 0, stdout: 'run 1' } });
    expect(eventsOf(agent.events, 'internal-error').map(({ fields }) => fields.reason)).toEqual([
      'disk full',
    ]);
  });

  it('of what was refused before it began is not used up', async () => {
    const agent = await watched();
    for (const body of [
      { script: 'other', reqid },
      { script: 'greet', args: 1, reqid },
    ])
      expect(await agent.ask({ path: '/run', body })).toMatchObject({ json: { exit: -1 } });
    agent.policy.outcome = { kind: 'exited', code: 1 };
    expect(await agent.ask(run)).toMatchObject({ json: { exit: -1 } });
    agent.policy.outcome = { kind: 'none' };
    expect(await agent.ask(run)).toMatchObject({ json: { exit: 0, stdout: 'run 1' } });
  });

  it('is remembered for a day', async () => {
    const agent = await watched();
    await agent.ask(run);
    await agent.clock.advance(86_400_000);
    expect((await agent.ask(run)).json['stdout']).toBe('run 1');
    // What has had its day is looked for once a minute.
    await agent.clock.advance(60_000);
    expect((await agent.ask(run)).json['stdout']).toBe('run 2');
  });

  it('is not needed: without one every request is a run of its own', async () => {
    const agent = await watched();
    for (const _ of [1, 2]) await agent.ask({ path: '/run', body: { script: 'greet' } });
    expect(agent.ran).toHaveLength(2);
    expect(agent.begun).toEqual([]);
  });
});

describe('a connection that is older than the identity in force', () => {
  async function renewed() {
    const agent = await watched();
    const former = agent.heard.presented;
    if (!former) throw new Error('nothing was presented');
    const credentials = await agent.ca.issue({ commonName: 'web-01', usages: ['serverAuth'] });
    await agent.keyStore.replace({
      'agent-key': credentials.key,
      'agent-certificate': credentials.certificate,
    });
    value(await agent.serving.reload());
    return { ...agent, former, next: signerOf(credentials).certificate };
  }

  it('is answered with the key that it was shown, and new ones with the new', async () => {
    const { make, send, former, next, clock } = await renewed();
    for (const presented of [former, next, former]) {
      const sent = await make({ path: '/ping', presented });
      const { status, answer } = await send(sent);
      expect(status).toBe(200);
      const by = (certificate: typeof former) =>
        checkAnswer(crypto, answer, sent, { certificate, now: clock.now() }).isOk();
      expect([by(former), by(next)]).toEqual([presented === former, presented === next]);
    }
  });

  it('is asked for the key that it was shown, and for no other', async () => {
    const { ask, former, next } = await renewed();
    for (const [presented, other] of [
      [former, next],
      [next, former],
    ] as const) {
      expect((await ask({ path: '/ping', presented, target: presented.spki })).status).toBe(200);
      expect(await ask({ path: '/ping', presented, target: other.spki })).toMatchObject({
        status: 401,
        json: { error: 'wrong target' },
      });
    }
  });

  it('of an identity that is not known any more is answered without a signature, which nobody takes for an answer', async () => {
    const { ask } = await renewed();
    const { certificate: stranger } = signerOf(await (await testCa()).issue());
    await expect(ask({ path: '/ping', presented: stranger })).rejects.toThrow('not signed');
  });
});
