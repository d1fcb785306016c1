import { beforeEach, describe, expect, it } from 'vitest';
import { jsonAnswer } from '../../../../../src/domain/protocol/http-message.js';
import { newStanding } from '../../../../../src/domain/trust/agent-standing.js';
import { pinAgent } from '../../../../../src/sdk/dispatcher/fleet/pin-agent.js';
import { ping } from '../../../../../src/sdk/dispatcher/fleet/ping.js';
import { editAgent } from '../../../../../src/sdk/dispatcher/fleet/registered-agents.js';
import { maintain } from '../../../../../src/sdk/dispatcher/maintenance/maintain.js';
import { run } from '../../../../../src/sdk/dispatcher/runs/run.js';
import { revoke } from '../../../../../src/sdk/dispatcher/trust/revoke.js';
import { rotate } from '../../../../../src/sdk/dispatcher/trust/rotation.js';
import { failure, value } from '../../../../contract/result.js';
import { eventsOf } from '../../../../support/fleet/events.js';
import {
  type Answering,
  issueAgent,
  register,
  type Seen,
  scriptedAgent,
} from '../../../../support/fleet/memory-agents.js';
import {
  identifiedFleet,
  type MemoryFleet,
  type TestDispatcher,
} from '../../../../support/fleet/memory-fleet.js';

let fleet: MemoryFleet;
let control: TestDispatcher;

/** With these lines in its configuration. */
async function dispatcher(conf: string): Promise<TestDispatcher> {
  ({ fleet, control } = await identifiedFleet(conf));
  return control;
}

beforeEach(() => dispatcher('allow_legacy_agents = *'));

const record = async (name: string) => {
  const found = value(await control.context.registry.find(name));
  if (!found) throw new Error(`no such agent: ${name}`);
  return found;
};

const runOn = async (host: string) => {
  const { results } = value(await run(control.context, { hosts: [host], script: 'greet' }));
  const [result] = results;
  if (!result) throw new Error('no result');
  return result;
};

const pingOf = async (host: string) => value(await ping(control.context, { hosts: [host] })).results[0];

const ownSerial = async () => {
  const own = value(await control.context.keyStore.read(['dispatcher-certificate']));
  return value(control.context.crypto.readCertificate(own['dispatcher-certificate'] ?? '')).serial;
};

/** As an import leaves it: no pin, and what it trusts. */
async function adopt(name: string, host = name) {
  const endpoint = { host, ip: '192.0.2.77', port: 7443, lookupBy: 'hostname' } as const;
  const standing = newStanding([await ownSerial()]);
  const agent = { name, endpoint, tags: {}, standing, pairedAt: 1 };
  value(await control.context.registry.adopt([agent]));
}

const unsigned = (answer: Parameters<NonNullable<Parameters<typeof scriptedAgent>[4]>['sign'] & object>[0]) =>
  answer;

/** What a legacy agent of a version answers; its script for serials exits as it is told. */
const legacy =
  (version: '0.8' | '0.9' | '0.11' | '0.12', trusted: string[] = []): Answering =>
  ({ path, body }) => {
    const { reqid, args, serial, script } = body as Record<string, string> & { args?: string[] };
    const notFound = jsonAnswer(404, { error: 'not found' });
    if (path === '/ping')
      return jsonAnswer(200, {
        status: 'ok',
        host: 'vm',
        version,
        expiry: 'Jun  7 16:28:00 2027 GMT',
        reqid,
      });
    if (path === '/rotate-serial' && ['0.11', '0.12'].includes(version)) {
      trusted.push(serial ?? '');
      return jsonAnswer(200, { status: 'ok', action: body['action'], serial, dispatcher: 'control' });
    }
    if (path !== '/run') return notFound;
    if (script !== 'update-ctrl-exec-serial')
      return jsonAnswer(200, { script, exit: 0, stdout: 'hello\n', stderr: '', reqid });
    const wanted = version === '0.8' ? 1 : 2;
    if (args?.length !== wanted)
      return jsonAnswer(200, { script, exit: 1, stdout: '', stderr: 'Usage\n', reqid });
    trusted.push(args.join(' '));
    return jsonAnswer(200, { script, exit: 0, stdout: '', stderr: '', reqid });
  };

const start = (name: string, answering: Answering, host = name) =>
  scriptedAgent(fleet, control, name, answering, { registered: false, host, sign: unsigned });

const paths = (seen: readonly Seen[]) => seen.map(({ path }) => path);

describe('an agent that does not sign', () => {
  it('is run and pinged where the operator allows it, and takes no lists', async () => {
    const { seen } = await start('old-01', legacy('0.8'));
    await adopt('old-01');
    expect(await runOn('old-01')).toMatchObject({ exit: 0, stdout: 'hello\n' });
    expect(await pingOf('old-01')).toMatchObject({ status: 'ok', version: '0.8' });
    expect(await runOn('old-01')).toMatchObject({ exit: 0 });
    // A connection each, and none for what it does not know.
    expect(paths(seen)).toEqual(['/run', '/ping', '/run']);
    expect((await record('old-01')).standing.speaks).toBe('unsigned');
  });

  it('is asked for nothing but a ping where it is not named, and it is said why', async () => {
    await dispatcher('allow_legacy_agents = old-02');
    const { seen } = await start('old-01', legacy('0.8'));
    await adopt('old-01');
    const { exit, error } = await runOn('old-01');
    expect({ exit, error }).toEqual({
      exit: -1,
      error: expect.stringContaining('old-01 does not sign its answers, so nothing was asked of it'),
    });
    expect(paths(seen)).toEqual(['/ping']);
    const [logged] = eventsOf(control.events, 'result-unverified');
    expect(logged?.fields.reason).toContain('allow_legacy_agents does not name old-01');
  });

  it('is not believed any more once it has signed, until an operator says that it is legacy again', async () => {
    let signs = true;
    const issued = await issueAgent(control, 'web-01');
    const { signedBy, signerOf } = await import('../../../../support/fleet/memory-agents.js');
    const sign = signedBy(signerOf(issued.credentials), () => fleet.clock.now());
    await scriptedAgent(fleet, control, 'web-01', legacy('0.12'), {
      registered: false,
      issued,
      sign: (answer, request) => (signs ? sign(answer, request) : answer),
    });
    await adopt('web-01');
    expect(await runOn('web-01')).toMatchObject({ exit: 0 });
    expect(eventsOf(control.events, 'signature-required').map(({ fields }) => fields.host)).toEqual([
      'web-01',
    ]);
    signs = false;
    expect(await runOn('web-01')).toMatchObject({ exit: -1, error: 'unverified result' });
    // Nobody can say what became of that run.
    value(await control.dispatcher.releaseLock({ host: 'web-01', script: 'greet' }));
    value(await editAgent(control.context, 'web-01', { legacy: true }));
    expect(await runOn('web-01')).toMatchObject({ exit: 0 });
    expect((await record('web-01')).standing.speaks).toBe('unsigned');
  });

  it('that paired by version 2 must sign from the first answer on, whatever is allowed', async () => {
    const { issued } = await start('web-01', legacy('0.12'));
    await register(control, 'web-01', issued);
    expect(await runOn('web-01')).toMatchObject({ exit: -1, error: 'unverified result' });
  });
});

describe('the first contact with an agent that was taken over', () => {
  it('pins its key where the certificate names the recorded host, in whatever case', async () => {
    const { issued } = await start('old-01', legacy('0.8'), 'OLD-01');
    await adopt('renamed', 'OLD-01');
    expect(await runOn('renamed')).toMatchObject({ exit: 0 });
    const { pins } = await record('renamed');
    expect(pins).toEqual([
      expect.objectContaining({
        spkiSha256: issued.spkiSha256,
        state: 'active',
        serial: issued.certificate.serial,
      }),
    ]);
    expect(eventsOf(control.events, 'agent-pinned')).toHaveLength(1);
  });

  it('refuses a certificate that names another host, sends nothing, and says how to go on', async () => {
    const { seen } = await start('old-02', legacy('0.8'), 'old-01');
    await adopt('old-01');
    const { error } = await runOn('old-01');
    expect(error).toContain('old-01 is unpinned');
    expect(error).toContain('edit-agent old-01 --pin');
    expect(seen).toEqual([]);
    expect((await record('old-01')).pins).toEqual([]);
  });

  it('is what an operator pins, whatever the certificate names; afterwards only that key answers', async () => {
    const other = await start('old-02', legacy('0.8'), 'old-01');
    await adopt('old-01');
    const pinned = value(await pinAgent(control.context, 'old-01'));
    expect(pinned).toMatchObject({ name: 'old-01', pin: { spkiSha256: other.issued.spkiSha256 } });
    expect(await runOn('old-01')).toMatchObject({ exit: 0 });
    expect(failure(await pinAgent(control.context, 'old-01')).code).toBe('invalid_argument');
    await other.listening.close(0);
    await start('old-01', legacy('0.8'));
    expect((await runOn('old-01')).error).toContain('wrong identity');
  });

  it('pins no key that another agent has, nor one that is revoked', async () => {
    const other = await start('old-01', legacy('0.8'));
    await register(control, 'web-02', other.issued);
    await adopt('old-01');
    expect((await runOn('old-01')).error).toContain('cannot be pinned');
    expect(failure(await pinAgent(control.context, 'old-01')).code).toBe('unpinned');
    value(await control.context.registry.remove('web-02'));
    value(await revoke(control.context, other.issued.certificate.serial));
    expect((await runOn('old-01')).error).toContain('was revoked');
    expect(other.seen).toEqual([]);
  });

  it('is made by maintenance, too; an unpinned agent can be revoked by serial only', async () => {
    await start('old-01', legacy('0.8'));
    await adopt('old-01');
    expect(failure(await revoke(control.context, 'old-01')).message).toContain('by its serial');
    const { told, failed } = value(await maintain(control.context));
    expect({ told, failed }).toEqual({ told: ['old-01'], failed: [] });
    expect((await record('old-01')).pins).toHaveLength(1);
  });
});

describe('a rotation with legacy agents', () => {
  it.each([
    ['0.8', (serial: string) => serial],
    ['0.9', (serial: string) => `${serial} control`],
    ['0.11', (serial: string) => serial],
  ] as const)('tells one of %s the next serial in its own way', async (version, written) => {
    await dispatcher('allow_legacy_agents = *\ndispatcher_id = control');
    const trusted: string[] = [];
    await start('old-01', legacy(version, trusted));
    await adopt('old-01');
    await runOn('old-01');
    const { state, next, acknowledged } = value(await rotate(control.context));
    expect({ state, acknowledged }).toEqual({ state: 'switched', acknowledged: ['old-01'] });
    expect(trusted).toEqual([written(next)]);
  });

  it('says that one is not told whose script is not allowed, and does not switch', async () => {
    await start('old-01', (request) =>
      request.body['script'] === 'update-ctrl-exec-serial'
        ? jsonAnswer(200, { script: 'update-ctrl-exec-serial', exit: -1, error: 'script not permitted' })
        : legacy('0.8')(request),
    );
    await adopt('old-01');
    await runOn('old-01');
    const { state, refused } = value(await rotate(control.context));
    expect(state).toBe('waiting');
    expect(refused[0]?.reason).toContain('needs update-ctrl-exec-serial in its scripts.conf');
  });

  it('takes no serial away from it when the overlap has ended: it would stop', async () => {
    const issued = await issueAgent(control, 'old-01', 400);
    const { seen } = await scriptedAgent(fleet, control, 'old-01', legacy('0.11'), {
      registered: false,
      issued,
      sign: unsigned,
    });
    await adopt('old-01');
    await runOn('old-01');
    value(await rotate(control.context));
    await fleet.clock.advance(31 * 86_400_000);
    const told = seen.length;
    expect(await pingOf('old-01')).toMatchObject({ status: 'ok' });
    expect(value(await maintain(control.context))).toMatchObject({ failed: [], told: [] });
    expect(paths(seen.slice(told))).toEqual(['/ping']);
  });
});

describe('a legacy agent of which it is not known what it trusts', () => {
  /** Trusts nobody until it is told by hand. */
  const doubting =
    (state: { trusts: boolean }): Answering =>
    (request) =>
      state.trusts
        ? legacy('0.8')(request)
        : jsonAnswer(403, { error: 'serial mismatch', status: 'forbidden' });

  it('is asked all the same, and what it trusts is learnt by that', async () => {
    const { seen } = await start('old-01', legacy('0.8'));
    const endpoint = { host: 'old-01', ip: '192.0.2.77', port: 7443, lookupBy: 'hostname' } as const;
    const agent = { name: 'old-01', endpoint, tags: {}, standing: newStanding(), pairedAt: 1 };
    value(await control.context.registry.adopt([agent]));
    expect(await runOn('old-01')).toMatchObject({ exit: 0 });
    expect((await record('old-01')).standing.serials).toEqual([await ownSerial()]);
    expect(paths(seen)).toEqual(['/run']);
  });

  it('that has refused once answers again as soon as it is mended, and nothing else was asked of it', async () => {
    const state = { trusts: true };
    const { seen } = await start('old-01', doubting(state));
    await adopt('old-01');
    expect(await runOn('old-01')).toMatchObject({ exit: 0 });
    state.trusts = false;
    expect((await runOn('old-01')).error).toContain('serial mismatch');
    state.trusts = true;
    expect(await runOn('old-01')).toMatchObject({ exit: 0 });
    expect(paths(seen)).toEqual(['/run', '/run', '/run']);
  });

  it('that was paired by version 1 and signs its first answer has to sign from then on', async () => {
    const issued = await issueAgent(control, 'web-01');
    const { signedBy, signerOf } = await import('../../../../support/fleet/memory-agents.js');
    const sign = signedBy(signerOf(issued.credentials), () => fleet.clock.now());
    let signs = true;
    await scriptedAgent(fleet, control, 'web-01', legacy('0.12'), {
      registered: false,
      issued,
      sign: (answer, request) => (signs ? sign(answer, request) : answer),
    });
    const { spkiSha256, certificate } = issued;
    const { serial, notAfter } = certificate;
    const endpoint = { host: 'web-01', ip: '192.0.2.77', port: 7443, lookupBy: 'hostname' } as const;
    value(
      await control.context.registry.enrol({
        name: 'web-01',
        endpoint,
        pin: { spkiSha256, state: 'issued', serial, notAfter, issuedAt: fleet.clock.now() },
        pairing: 'v1',
        replace: false,
        standing: newStanding([await ownSerial()]),
        at: fleet.clock.now(),
      }),
    );
    expect(await runOn('web-01')).toMatchObject({ exit: 0 });
    signs = false;
    expect(await runOn('web-01')).toMatchObject({ exit: -1, error: 'unverified result' });
  });
});
