import { describe, expect, it } from 'vitest';
import { memoryKeyStore } from '../../../../../src/adapters/memory/key-store.js';
import { processOutcome } from '../../../../../src/adapters/memory/process-runner.js';
import { selfCheck } from '../../../../../src/sdk/agent/checks.js';
import { serve } from '../../../../../src/sdk/agent/serve.js';
import { failure, value } from '../../../../contract/result.js';
import { agentContext, servingAgent } from '../../../../support/fleet/memory-agents.js';

const home = '/etc/ctrl-exec-agent';
const [configuration, allowlist] = [`${home}/agent.conf`, `${home}/scripts.conf`];
const nobody = 65_534;

type Files = Awaited<ReturnType<typeof agentContext>>['files'];

/** Somebody gets hold of a file, and may add to it. */
const give = ({ files }: { files: Files }, path: string, added = '') => {
  const file = files.files.get(path);
  const bytes = new TextEncoder().encode(new TextDecoder().decode(file?.bytes) + added);
  files.files.set(path, { bytes, mode: file?.mode ?? 0o644, uid: nobody });
};

const text = ({ files }: { files: Files }, path: string) =>
  new TextDecoder().decode(files.files.get(path)?.bytes);

const programs = {
  '/opt/greet': () => processOutcome(0),
  '/opt/evil': () => processOutcome(0),
};
const warn = { configuration: 'file_trust = warn\n', programs };

/** What version 0.1 did not keep. */
const ofThisVersion = { 'trust-origins': '' };

/** One that keeps something in a file. */
const keysInFiles = () => ({ ...memoryKeyStore(), paths: () => [`${home}/agent.key`] });

describe('an agent that serves', () => {
  it('takes no line that somebody else has put into its allowlist, and works on as before', async () => {
    const agent = await servingAgent({ programs, files: { '/opt/evil': '' } });
    give(agent, allowlist, 'evil = /opt/evil\n');
    const error = failure(await agent.serving.reload());
    const line = `not trusted: ${allowlist} belongs to uid 65534, expected root: chown root ${allowlist}`;
    expect(error).toMatchObject({ code: 'file_failed', path: allowlist, message: line });
    expect(agent.events.events.at(-1)).toMatchObject({ action: 'reload-failed', fields: { reason: line } });
    expect((await agent.ask({ body: { script: 'evil' } })).json['error']).toBe('script not permitted');
    expect((await agent.ask({ body: { script: 'greet' } })).json['exit']).toBe(0);
  });

  it('judges a script again before each run, async or not', async () => {
    const agent = await servingAgent({ programs });
    give(agent, '/opt/greet');
    const refused = {
      exit: 126,
      error: 'not trusted: /opt/greet belongs to uid 65534, expected root: chown root /opt/greet',
    };
    expect((await agent.ask({ body: { script: 'greet' } })).json).toMatchObject(refused);
    const asked = { script: 'greet', async: true, reqid: 'a1' };
    expect((await agent.ask({ body: asked })).json).toMatchObject(refused);
  });

  it('does without a script that somebody else decides about, and with all others', async () => {
    const scripts = 'greet = /opt/greet\nevil = /opt/evil\n';
    const agent = await servingAgent({ programs, scripts, files: { '/opt/evil': '' } });
    give(agent, '/opt/evil');
    value(await agent.serving.reload());
    expect(agent.serving.warnings()).toContain(
      `${allowlist}:2: skipped, not trusted: /opt/evil belongs to uid 65534, expected root: chown root /opt/evil`,
    );
    expect((await agent.ask({ body: { script: 'evil' } })).json['error']).toBe('script not permitted');
    expect((await agent.ask({ body: { script: 'greet' } })).json['exit']).toBe(0);
  });

  it('runs what it only warns of, and says so to dispatchers and in its log', async () => {
    const agent = await servingAgent(warn);
    give(agent, '/opt/greet');
    give(agent, allowlist);
    value(await agent.serving.reload());
    const lines = [
      `${allowlist} belongs to uid 65534, expected root: chown root ${allowlist}`,
      `${allowlist}:1: /opt/greet belongs to uid 65534, expected root: chown root /opt/greet`,
    ];
    expect(agent.serving.warnings()).toEqual(lines);
    expect((await agent.ask({ path: '/ping' })).json['problems']).toEqual(lines);
    expect((await agent.ask({ body: { script: 'greet' } })).json['exit']).toBe(0);
  });

  it('runs nothing that everybody can write, whatever the setting', async () => {
    const agent = await servingAgent(warn);
    agent.files.files.set('/opt/greet', { bytes: new Uint8Array(), mode: 0o757 });
    expect((await agent.ask({ body: { script: 'greet' } })).json).toMatchObject({
      exit: 126,
      error: 'not trusted: /opt/greet is writable by everybody: chmod go-w /opt/greet',
    });
  });
});

describe('an agent does not start', () => {
  it('with a configuration of somebody else, who may have written into it that it is to be trusted', async () => {
    const { context, ...agent } = await agentContext();
    give(agent, configuration, 'file_trust = warn\n');
    expect(failure(await serve(context)).message).toBe(
      `not trusted: ${configuration} belongs to uid 65534, expected root: chown root ${configuration}`,
    );
  });

  it.each([
    ['a key', `${home}/agent.key`],
    ['a hook', '/opt/hook'],
    ['the record of requests', '/var/lib/ctrl-exec-agent/replay/1'],
    ['a job', '/var/lib/ctrl-exec-agent/runs/jobs/1'],
  ])('with %s of somebody else', async (_what, path) => {
    const agent = await agentContext({
      configuration: 'auth_hook = /opt/hook\n',
      files: { [path]: '' },
      keyStore: keysInFiles(),
    });
    value(await agent.keyStore.replace(ofThisVersion));
    give(agent, path);
    expect(failure(await serve(agent.context))).toMatchObject({ code: 'file_failed', path });
  });
});

describe('a self-check', () => {
  it('shows everything that is wrong, with what heals it', async () => {
    const agent = await agentContext({ keyStore: keysInFiles(), files: { [`${home}/agent.key`]: '' } });
    for (const path of [allowlist, `${home}/agent.key`]) give(agent, path);
    expect((await selfCheck(agent.context)).filter(({ ok }) => !ok)).toEqual(
      [allowlist, `${home}/agent.key`].map((path) => ({
        name: 'file trust',
        ok: false,
        detail: `${path} belongs to uid 65534, expected root: chown root ${path}`,
      })),
    );
  });

  it('warns of what is taken all the same', async () => {
    const agent = await agentContext(warn);
    give(agent, allowlist);
    expect(await selfCheck(agent.context)).toContainEqual({
      name: 'file trust',
      ok: true,
      warning: true,
      detail: `${allowlist} belongs to uid 65534, expected root: chown root ${allowlist}`,
    });
  });
});

describe('a home that version 0.1 made', () => {
  const closing = async (context: Parameters<typeof serve>[0]) =>
    value(await serve(context).map((serving) => serving.close(0)));

  it('goes on with warnings where strict would refuse something', async () => {
    const agent = await agentContext({ configuration: '# mine\nport = 1\n', programs });
    give(agent, allowlist);
    await closing(agent.context);
    expect(text(agent, configuration)).toBe('# mine\nport = 1\nfile_trust = warn\n');
    const said = agent.events.events.flatMap(({ action, fields }) =>
      action === 'warning' ? [String(fields['reason'])] : [],
    );
    expect(said).toEqual([
      expect.stringContaining(`${configuration} now has the line file_trust = warn`),
      `${allowlist} belongs to uid 65534, expected root: chown root ${allowlist}`,
    ]);
  });

  it('goes on also where everybody can write a script, which is refused all the same', async () => {
    const agent = await agentContext({ configuration: '', programs });
    const [script = ''] = Object.keys(programs);
    const file = agent.files.files.get(script);
    if (file === undefined) throw new Error(`no ${script}`);
    agent.files.files.set(script, { ...file, mode: 0o777 });
    give(agent, allowlist);
    await closing(agent.context);
    expect(text(agent, configuration)).toBe('file_trust = warn\n');
  });

  it('gets nothing written where it is in order', async () => {
    const agent = await agentContext({ configuration: '# mine\n', programs });
    await closing(agent.context);
    expect(text(agent, configuration)).toBe('# mine\n');
  });

  it.each([
    ['it says strict', 'file_trust = strict\n', {}],
    ['this version has worked there', '', ofThisVersion],
  ])('is refused like any other where %s', async (_what, written, kept) => {
    const agent = await agentContext({ configuration: written });
    value(await agent.keyStore.replace(kept));
    give(agent, allowlist);
    expect(failure(await serve(agent.context))).toMatchObject({ path: allowlist });
    expect(text(agent, configuration)).toBe(written);
  });

  it('is believed to be one only where nobody else can have made it look like that', async () => {
    const evidence = '/var/lib/ctrl-exec-agent/trust-origins';
    const keyStore = { ...memoryKeyStore(), location: () => evidence };
    const agent = await agentContext({ keyStore, files: { [evidence]: '' } });
    give(agent, evidence);
    expect((await serve(agent.context)).isErr()).toBe(true);
    expect(text(agent, configuration)).toBe('');
  });
});
