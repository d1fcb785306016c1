import { beforeEach, describe, expect, it } from 'vitest';
import { selfCheck } from '../../../../src/apps/agent/commands/checks.js';
import { editAgent, unpair } from '../../../../src/apps/cli/commands/agents.js';
import { approve, deny } from '../../../../src/apps/cli/commands/requests.js';
import {
  caFingerprint,
  joinToken,
  listJoinTokens,
  revokeJoinToken,
  setupCa,
  setupDispatcher,
} from '../../../../src/apps/cli/commands/setup.js';
import { value } from '../../../contract/result.js';
import {
  dispatcherHost,
  type MemoryFleet,
  memoryFleet,
  pairAgent,
  pairingFleet,
  type TestAgent,
  type TestDispatcher,
} from '../../../support/fleet/memory-fleet.js';
import { printed } from './printed.js';

let fleet: MemoryFleet;
let control: TestDispatcher;
let joining: TestAgent;

beforeEach(async () => {
  ({ fleet, control, joining } = await pairingFleet());
});

const json = { json: true };
const asked = async (work: () => Promise<number>) => {
  const { value: code, stdout, stderr } = await printed(work);
  expect(stdout).toMatch(/^\{[^\n]*\}\n$/);
  return { code, answer: JSON.parse(stdout), stderr };
};

/** A request that waits. */
async function request(): Promise<string> {
  return new Promise((resolve) => {
    void joining.agent.pair({
      dispatcher: dispatcherHost,
      trust: { kind: 'compare', confirm: async () => true },
      onCode: (code) => resolve(code.request),
    });
  });
}

describe('with --json a command that changes something says what, in one line', () => {
  it('setup-ca and setup-ctrl-exec', async () => {
    const { dispatcher } = memoryFleet().dispatcher('new.test');
    const none = await asked(() => setupDispatcher(dispatcher, json));
    expect(none).toMatchObject({ code: 1, answer: { ok: 0, error: expect.stringContaining('setup-ca') } });
    const ca = await asked(() => setupCa(dispatcher, json));
    const { fingerprint } = value(await dispatcher.ca());
    expect(ca).toMatchObject({
      code: 0,
      answer: { ok: 1, fingerprint, notAfter: expect.stringMatching(/Z$/) },
    });
    expect((await asked(() => caFingerprint(dispatcher, json))).answer).toEqual(ca.answer);
    const set = await asked(() => setupDispatcher(dispatcher, json));
    expect(set.answer).toEqual({
      ok: 1,
      dispatcher_id: 'control',
      serial: expect.stringMatching(/^[0-9a-f]+$/),
      notAfter: expect.stringMatching(/Z$/),
    });
  });

  it('approve and deny', async () => {
    const id = await request();
    const approved = await asked(() =>
      approve(control.dispatcher, id.slice(0, 8), { ...json, name: 'web-09' }),
    );
    expect(approved).toMatchObject({ code: 0, answer: { ok: 1, id, state: 'approved', name: 'web-09' } });
    const other = await request();
    const denied = await asked(() => deny(control.dispatcher, other, json));
    expect(denied).toMatchObject({ code: 0, answer: { ok: 1, id: other, host: 'web-01', state: 'denied' } });
    const unknown = await asked(() => approve(control.dispatcher, '0'.repeat(8), json));
    expect(unknown).toMatchObject({
      code: 1,
      answer: { ok: 0 },
      stderr: expect.stringContaining('no pairing request'),
    });
  });

  it('edit-agent and unpair', async () => {
    value(await pairAgent(fleet, control, joining));
    const edited = await asked(() => editAgent(control.dispatcher, 'web-01', { ...json, rename: 'web-02' }));
    expect(edited.answer).toEqual({
      ok: 1,
      name: 'web-02',
      hostname: 'web-01',
      ip: '192.0.2.77',
      port: 7443,
      lookup_by: 'hostname',
    });
    expect((await printed(() => editAgent(control.dispatcher, 'web-02', json))).value).toBe(64);
    const gone = await asked(() => unpair(control.dispatcher, 'web-02', json));
    expect(gone).toMatchObject({ code: 0, answer: { ok: 1, name: 'web-02' } });
    expect((await asked(() => unpair(control.dispatcher, 'web-02', json))).answer).toMatchObject({ ok: 0 });
  });

  it('self-check', async () => {
    const { code, answer } = await asked(() => selfCheck(joining.agent, json));
    expect(code).toBe(1);
    expect(answer.checks).toContainEqual({
      name: 'certificate',
      ok: false,
      warning: false,
      detail: 'this agent is not paired: request-pairing',
    });
  });
});

describe('join-token', () => {
  it('lists what was issued, without a secret, and revokes by a beginning of the id', async () => {
    const issued = await asked(() => joinToken(control.dispatcher, { ...json, host: 'web-01', ttl: '15m' }));
    const listed = await asked(() => listJoinTokens(control.dispatcher, json));
    const [{ id }] = listed.answer.tokens;
    const about = { id, name: 'web-01', created: expect.any(String), expires: issued.answer.expires };
    expect(listed.answer.tokens).toEqual([{ ...about, state: 'unused' }]);
    const text = (await printed(() => listJoinTokens(control.dispatcher, {}))).stdout;
    expect(text).toMatch(new RegExp(`^ID +HOST +CREATED +EXPIRES +STATE\n-+\n${id} +web-01 .*unused\n$`));
    const revoked = await asked(() =>
      revokeJoinToken(control.dispatcher, id.slice(0, 8).toUpperCase(), json),
    );
    expect(revoked).toMatchObject({ code: 0, answer: { ok: 1 } });
    const after = await asked(() => listJoinTokens(control.dispatcher, json));
    expect(after.answer.tokens).toMatchObject([{ state: 'revoked' }]);
    const pairing = joining.agent.pair({
      dispatcher: dispatcherHost,
      trust: { kind: 'join', token: issued.answer.token },
    });
    expect((await fleet.settle(pairing)).isErr()).toBe(true);
    expect(await asked(() => revokeJoinToken(control.dispatcher, '0'.repeat(16), json))).toMatchObject({
      code: 64,
      answer: { ok: 0, error: expect.stringContaining('there is no join token') },
    });
  });

  it('for a registered name is made, and warns that it is refused', async () => {
    const first = await asked(() => joinToken(control.dispatcher, { ...json, host: 'web-01', ttl: '15m' }));
    expect(first.stderr).toBe('');
    const { token } = first.answer;
    value(
      await fleet.settle(joining.agent.pair({ dispatcher: dispatcherHost, trust: { kind: 'join', token } })),
    );
    const second = await asked(() => joinToken(control.dispatcher, { ...json, host: 'WEB-01', ttl: '15m' }));
    expect(second).toMatchObject({
      code: 0,
      stderr:
        'warning: an agent web-01 is registered: the token is refused (name_registered) until "ctrl-exec unpair web-01"\n',
    });
    const { answer } = await asked(() => listJoinTokens(control.dispatcher, json));
    expect(answer.tokens.map(({ state }: { state: string }) => state).sort()).toEqual(['unused', 'used']);
    const used = await asked(() => revokeJoinToken(control.dispatcher, token, json));
    expect(used).toMatchObject({ code: 1, answer: { ok: 0 }, stderr: expect.stringContaining('unpair') });
    expect((await printed(() => joinToken(control.dispatcher, { ttl: '15m' }))).value).toBe(64);
  });
});
