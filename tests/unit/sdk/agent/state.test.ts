import { errAsync } from 'neverthrow';
import { describe, expect, it } from 'vitest';
import { memoryKeyStore } from '../../../../src/adapters/memory/key-store.js';
import { processOutcome } from '../../../../src/adapters/memory/process-runner.js';
import { failure as errorOf } from '../../../../src/domain/core/errors.js';
import { pairingStatus, selfCheck, selfPing } from '../../../../src/sdk/agent/checks.js';
import { serve } from '../../../../src/sdk/agent/serve.js';
import { loadSettings, loadState } from '../../../../src/sdk/agent/state/state.js';
import { failure, value } from '../../../contract/result.js';
import { agentContext, servingAgent, trustedSerial } from '../../../support/fleet/memory-agents.js';
import { certificateOf } from '../../../support/network/network.js';

const home = '/etc/ctrl-exec-agent';
type Serving = Awaited<ReturnType<typeof servingAgent>>;

const write = ({ files }: Pick<Serving, 'files'>, path: string, text: string) =>
  files.files.set(path, { bytes: new TextEncoder().encode(text), mode: 0o644 });

/** What the agent does now, seen from outside. */
const behaviour = async ({ ask }: Serving) => ({
  greet: (await ask({ body: { script: 'greet' } })).json['exit'],
  capabilities: (await ask({ method: 'GET', path: '/capabilities' })).json,
  ping: (await ask({ path: '/ping' })).json,
  other: (await ask({ path: '/ping', serial: 'beef' })).status,
});

const programs = { '/opt/greet': () => processOutcome(0) };

describe('a reload', () => {
  it('takes over allowlist, sidecars, tags, trust, revocations and certificate', async () => {
    const agent = await servingAgent({ programs });
    expect(await behaviour(agent)).toMatchObject({ greet: 0, other: 403 });
    write(agent, `${home}/scripts.conf`, 'other = /opt/greet\n');
    write(agent, `${home}/agent.conf`, '[tags]\nenv = test\n');
    write(agent, '/opt/greet.schema.json', '{"version":"7"}');
    const renewed = await agent.ca.issue({
      commonName: 'web-01',
      usages: ['serverAuth'],
      notAfter: new Date(2e12),
    });
    await agent.keyStore.replace({
      'agent-key': renewed.key,
      'agent-certificate': renewed.certificate,
      'trusted-dispatchers': `beef next\n${trustedSerial} control\n`,
    });
    expect(await behaviour(agent)).toMatchObject({ greet: 0, other: 403, capabilities: { tags: {} } });

    value(await agent.serving.reload());
    const after = await behaviour(agent);
    expect(after).toMatchObject({
      greet: -1,
      other: 200,
      ping: { expiry: 'May 18 03:33:20 2033 GMT' },
      capabilities: { tags: { env: 'test' }, scripts: [{ name: 'other', schema_version: '7' }] },
    });

    await agent.keyStore.replace({ 'revoked-serials': 'BE:EF\n' });
    expect((await behaviour(agent)).other).toBe(200);
    value(await agent.serving.reload());
    expect((await behaviour(agent)).other).toBe(403);
    expect(agent.events.events.filter(({ action }) => action === 'reloaded').length).toBe(2);
  });

  it('hands the listener the new certificate', async () => {
    const agent = await agentContext();
    const renewals: unknown[] = [];
    const { listener } = agent.context;
    const context = {
      ...agent.context,
      listener: {
        listen: (options: Parameters<typeof listener.listen>[0]) =>
          listener.listen(options).map((listening) => ({
            ...listening,
            renew: (...given: unknown[]) => renewals.push(given),
          })),
      },
    };
    const serving = value(await serve(context));
    const renewed = await agent.ca.issue({ commonName: 'web-01', usages: ['serverAuth'] });
    await agent.keyStore.replace({ 'agent-key': renewed.key, 'agent-certificate': renewed.certificate });
    value(await serving.reload());
    expect(renewals).toEqual([
      [
        { key: renewed.key, certificate: renewed.certificate },
        [expect.stringContaining(agent.ca.pem.trim())],
      ],
    ]);
  });

  const mistakes: [string, (agent: Serving) => unknown, string][] = [
    [
      'a configuration that does not parse',
      (agent) => write(agent, `${home}/agent.conf`, 'port\n'),
      'config_invalid',
    ],
    [
      'a value that is none',
      (agent) => write(agent, `${home}/agent.conf`, 'max_runs = 0\n'),
      'config_invalid',
    ],
    [
      'an allowed_ips that is none',
      (agent) => write(agent, `${home}/agent.conf`, 'allowed_ips = x\n'),
      'config_invalid',
    ],
    [
      'a certificate that does not parse',
      (agent) => agent.keyStore.replace({ 'agent-certificate': 'nonsense' }),
      'certificate_invalid',
    ],
    [
      'a key that does not fit',
      async (agent) => agent.keyStore.replace({ 'agent-key': (await agent.ca.issue()).key }),
      'certificate_invalid',
    ],
  ];
  it.each(mistakes)('with %s changes nothing, and says so', async (_what, spoil, code) => {
    const agent = await servingAgent({ programs, configuration: '[tags]\nenv = prod\n' });
    const before = await behaviour(agent);
    write(agent, `${home}/scripts.conf`, '');
    await agent.keyStore.replace({ 'trusted-dispatchers': 'beef next\n' });
    await spoil(agent);
    expect(failure(await agent.serving.reload()).code).toBe(code);
    expect(await behaviour(agent)).toEqual(before);
    expect(agent.serving.warnings()).toEqual([]);
    const logged = agent.events.events.find(({ action }) => action === 'reload-failed');
    expect(logged).toMatchObject({ level: 'error', fields: { reason: expect.stringMatching(/./) } });
  });

  it('while the key store cannot be read changes nothing', async () => {
    const broken = errorOf('file_failed', 'cannot read', { path: '/x', operation: 'read', reason: 'EIO' });
    const parts = await agentContext();
    let fails = false;
    const context = {
      ...parts.context,
      keyStore: () => ({
        ...parts.keyStore,
        read: ((items: never) =>
          fails ? errAsync(broken) : parts.keyStore.read(items)) as typeof parts.keyStore.read,
      }),
    };
    const serving = value(await serve(context));
    fails = true;
    expect(failure(await serving.reload())).toEqual(broken);
  });

  it.each([
    ['a part of the identity', ['agent-key'], 'certificate_invalid'],
    ['the identity', ['agent-key', 'agent-certificate', 'ca-certificate'], 'identity_missing'],
  ])('while %s is gone changes nothing', async (_what, items, code) => {
    const missing = Object.fromEntries(items.map((item) => [item, undefined]));
    const store = memoryKeyStore();
    let gone = false;
    const read = ((asked: never) =>
      store
        .read(asked)
        .map((found) => (gone ? { ...(found as object), ...missing } : found))) as typeof store.read;
    const agent = await servingAgent({
      programs,
      ports: { keyStore: () => ({ ...store, read }) },
      keyStore: store,
    });
    const before = await behaviour(agent);
    write(agent, `${home}/scripts.conf`, '');
    gone = true;
    expect(failure(await agent.serving.reload()).code).toBe(code);
    expect(await behaviour(agent)).toEqual(before);
  });

  it('with an allowlist that cannot be read changes nothing', async () => {
    const agent = await servingAgent({ programs });
    const before = await behaviour(agent);
    write(agent, `${home}/scripts.conf`, '#'.repeat(5 * 1024 * 1024));
    expect(failure(await agent.serving.reload())).toMatchObject({
      code: 'file_failed',
      reason: 'EFBIG',
    });
    expect(await behaviour(agent)).toEqual(before);
  });
});

describe('loading', () => {
  it('gathers what is wrong but not fatal, each with its file and line', async () => {
    const { context } = await agentContext({
      configuration: 'prot = 7443\n',
      scripts: 'greet = /opt/greet profile=batch\nbad name = /x\nrel = x\n',
      trust: `${trustedSerial} control\nnonsense\n`,
      revoked: 'zz\n',
    });
    const { warnings, scripts, denied } = value(await loadState(context));
    expect(warnings).toEqual([
      expect.stringContaining(`${home}/agent.conf:1`),
      expect.stringContaining(`${home}/scripts.conf:2`),
      expect.stringContaining(`${home}/scripts.conf:3`),
      expect.stringContaining(`${home}/scripts.conf:1: profile=batch is read but not enforced yet`),
      expect.stringContaining('/var/lib/ctrl-exec-agent/ctrl-exec-dispatchers: line 2'),
    ]);
    expect(warnings[0]).toContain('port');
    expect(denied.problem?.message).toContain(`${home}/revoked-serials:1`);
    expect([...scripts.keys()]).toEqual(['greet']);
  });

  it('needs the configuration file only where it was named', async () => {
    const { context, files } = await agentContext();
    files.files.delete(`${home}/agent.conf`);
    expect(value(await loadSettings(context)).settings.port).toBe(7443);
    const required = { ...context, place: { ...context.place, configurationRequired: true } };
    expect(failure(await loadSettings(required))).toMatchObject({
      code: 'config_invalid',
      message: `${home}/agent.conf: the configuration file does not exist`,
    });
  });

  /** An agent of whose identity these documents are not there. */
  const without = async (...items: readonly string[]) => {
    const { context, keyStore } = await agentContext();
    const missing = Object.fromEntries(items.map((item) => [item, undefined]));
    return {
      ...context,
      keyStore: () => ({
        ...keyStore,
        read: ((asked: never) =>
          keyStore.read(asked).map((found) => ({ ...(found as object), ...missing }))) as never,
      }),
    };
  };

  it.each([
    ['agent-key'],
    ['agent-certificate'],
    ['ca-certificate'],
    ['agent-key', 'agent-certificate'],
    ['agent-certificate', 'ca-certificate'],
  ])('an identity without %s %s cannot be used, and what is missing is said', async (...items) => {
    const partly = await without(...items);
    const error = failure(await loadState(partly));
    expect(error.code).toBe('certificate_invalid');
    expect(error.message).toContain(`${items.join(' and ')} is missing: pair again`);
    expect(failure(await serve(partly))).toEqual(error);
  });

  it('without any of its documents is not paired', async () => {
    const unpaired = await without('agent-key', 'agent-certificate', 'ca-certificate');
    expect(value(await loadState(unpaired)).identity).toBeUndefined();
    expect(failure(await serve(unpaired)).code).toBe('identity_missing');
  });
});

describe('pairingStatus', () => {
  it('names the certificate and every dispatcher once', async () => {
    const { context, own } = await agentContext({ trust: 'a1 first\nb2 second\nc3 first\n' });
    const { serial, notAfter } = certificateOf(own);
    expect(value(await pairingStatus(context))).toEqual({
      paired: true,
      name: 'web-01',
      serial,
      notAfter,
      dispatchers: ['first', 'second'],
    });
  });

  it('of an agent that is not paired says so', async () => {
    const { context } = await agentContext({ paired: false, trust: '' });
    expect(value(await pairingStatus(context))).toEqual({
      paired: false,
      name: undefined,
      serial: undefined,
      notAfter: undefined,
      dispatchers: [],
    });
  });
});

describe('selfCheck', () => {
  const failing = (checks: Awaited<ReturnType<typeof selfCheck>>) =>
    checks.filter(({ ok }) => !ok).map(({ name }) => name);
  const now = () => ({
    ports: { clock: { now: () => Date.now(), monotonic: () => 0, after: () => () => {} } },
  });

  it('of a healthy agent finds nothing wrong', async () => {
    const { context } = await agentContext(now());
    const checks = await selfCheck(context);
    expect(failing(checks)).toEqual([]);
    expect(checks.map(({ name }) => name)).toEqual([
      'configuration',
      'script greet',
      'certificate',
      'certificate authority',
      'trusted dispatchers',
    ]);
    expect(checks.at(-1)?.detail).toBe('control');
  });

  it.each<[string, Parameters<typeof agentContext>[0], string[]]>([
    ['a script that cannot be executed', { executable: [] }, ['script greet']],
    ['a bad line in the allowlist', { scripts: 'greet = /opt/greet\nx y = /z\n' }, ['warning']],
    ['a hook that is not there', { configuration: 'auth_hook = /opt/hook\n' }, ['auth hook']],
    ['a path that is no file', { scripts: 'dir = /opt\n' }, ['script dir']],
    ['no dispatcher', { trust: '' }, ['trusted dispatchers']],
    ['only revoked dispatchers', { revoked: trustedSerial }, ['trusted dispatchers']],
    ['no pairing', { paired: false }, ['certificate']],
    ['a wrong configuration', { configuration: 'port = x' }, ['configuration']],
  ])('finds %s', async (_what, options, expected) => {
    const { context } = await agentContext({ ...now(), ...options });
    expect(failing(await selfCheck(context))).toEqual(expected);
  });

  const hooked = 'auth_hook = /opt/hook\n';
  it.each<[string, Parameters<typeof agentContext>[0], string, string, number, string]>([
    ['a script that is not there', { scripts: 'x = /opt/x\n' }, '', '', 0, '/opt/x does not exist: put it'],
    ['one that may not be executed', {}, '/opt/greet', '#!/bin/sh\n', 0o644, '/opt/greet is not executable'],
    [
      'one without an interpreter',
      {},
      '/opt/greet',
      'echo hello\n',
      0o755,
      '/opt/greet does not begin with #!',
    ],
    [
      'one whose interpreter is missing',
      {},
      '/opt/greet',
      '#!/no/sh -e\n',
      0o755,
      '/opt/greet needs /no/sh, which does not exist or is not executable: install it',
    ],
    ['one with Windows line ends', {}, '/opt/greet', '#!/bin/sh\r\n', 0o755, 'needs /bin/sh\\r, which'],
    ['an empty one', {}, '/opt/greet', '', 0o755, '/opt/greet does not begin with #!'],
    ['an open hook', { configuration: hooked }, '/opt/hook', '#!/bin/sh\n', 0o757, 'writable by everybody'],
    [
      'a hook that may not be executed',
      { configuration: hooked },
      '/opt/hook',
      '#!/bin/sh\n',
      0o644,
      'chmod +x',
    ],
    [
      'a hook without an interpreter',
      { configuration: hooked },
      '/opt/hook',
      'exit 0\n',
      0o755,
      'like #!/bin/sh',
    ],
    ['a hook that is not there', { configuration: hooked }, '', '', 0, '/opt/hook does not exist'],
  ])('says why, and what to do: %s', async (_what, options, path, text, mode, expected) => {
    const { context, files } = await agentContext({ ...now(), ...options });
    if (path !== '') files.files.set(path, { bytes: new TextEncoder().encode(text), mode });
    const failed = (await selfCheck(context)).filter(({ ok }) => !ok);
    expect(failed).toHaveLength(1);
    expect(failed[0]?.detail).toContain(expected);
  });

  it('looks for the program of env where scripts find it', async () => {
    const { context, files } = await agentContext(now());
    const program = (path: string, text = '') =>
      files.files.set(path, { bytes: new TextEncoder().encode(text), mode: 0o755 });
    program('/opt/greet', '#!/usr/bin/env python3\n');
    program('/usr/bin/env');
    const [failed] = (await selfCheck(context)).filter(({ ok }) => !ok);
    expect(failed?.detail).toContain(
      '/opt/greet needs python3, which is in no directory of /usr/local/sbin:',
    );
    program('/usr/local/bin/python3');
    expect(failing(await selfCheck(context))).toEqual([]);
  });

  it('has nothing against a binary, whatever it begins with, and a hook that is as it must be', async () => {
    const { context, files } = await agentContext({ ...now(), configuration: hooked });
    files.files.set('/opt/greet', { bytes: Uint8Array.from([127, 69, 76, 70, 0]), mode: 0o755 });
    files.files.set('/opt/hook', { bytes: new TextEncoder().encode('#!/bin/sh\n'), mode: 0o750 });
    expect(failing(await selfCheck(context))).toEqual([]);
  });

  it('has nothing against an agent without a configuration', async () => {
    const { context, files } = await agentContext(now());
    files.files.delete(`${home}/agent.conf`);
    expect((await selfCheck(context))[0]).toEqual({
      name: 'configuration',
      ok: true,
      detail: `${home}/agent.conf does not exist, the defaults hold`,
    });
  });

  it('warns of a value with a #, once, and names a dispatcher with two certificates once', async () => {
    const { context } = await agentContext({
      ...now(),
      configuration: '[tags]\nenv = a#b # c\n',
      trust: `${trustedSerial} control\nab control\n`,
    });
    const checks = await selfCheck(context);
    expect(failing(checks)).toEqual([]);
    expect(checks.filter(({ warning }) => warning)).toEqual([
      {
        name: 'warning',
        ok: true,
        warning: true,
        detail: expect.stringMatching(/agent\.conf:2: the "#" in the value of env is part of it/),
      },
    ]);
    expect(checks.at(-1)?.detail).toBe('control');
  });

  it('finds an expired certificate, one that is not for servers, and one of another CA', async () => {
    const { context, ca, keyStore } = await agentContext(now());
    const replace = async (asked: Parameters<typeof ca.issue>[0]) => {
      const { key, certificate } = await ca.issue(asked);
      await keyStore.replace({ 'agent-key': key, 'agent-certificate': certificate });
    };
    await replace({ usages: ['serverAuth'], notBefore: new Date(0), notAfter: new Date(1e12) });
    expect(failing(await selfCheck(context))).toEqual(['certificate']);
    await replace({ usages: ['clientAuth'] });
    expect(failing(await selfCheck(context))).toEqual(['certificate']);
    await replace({ usages: ['serverAuth'] });
    await keyStore.replace({ 'ca-certificate': (await ca.issue()).certificate });
    expect(failing(await selfCheck(context))).toEqual(['certificate authority']);
  });
});

describe('selfPing', () => {
  it('counts the refusal of its own certificate as healthy', async () => {
    const { context, network } = await agentContext();
    value(await serve({ ...context, listener: network.listener('127.0.0.1') }));
    expect(value(await selfPing(context))).toEqual({ host: '127.0.0.1', port: 7443, rtt: 0 });
  });

  it('is not content when something else answers there', async () => {
    const { context, network, ca } = await agentContext();
    const credentials = await ca.issue({ commonName: 'other', usages: ['serverAuth'] });
    const options = { bind: '', port: 7443, maxBody: 1, maxConnections: 9, credentials };
    const handle = async () => ({ status: 200, headers: [], body: new Uint8Array() });
    value(await network.listener('127.0.0.1').listen({ ...options, handle }));
    expect(failure(await selfPing(context)).code).toBe('wrong_identity');
  });

  it('is not content when nothing listens, or when this agent is not paired', async () => {
    const { context, network } = await agentContext();
    value(await serve({ ...context, listener: network.listener('127.0.0.1') }));
    expect(failure(await selfPing(context, 1)).code).toBe('connection_refused');
    const unpaired = await agentContext({ paired: false });
    expect(failure(await selfPing(unpaired.context)).code).toBe('identity_missing');
  });
});
