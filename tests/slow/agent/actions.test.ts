import { spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { type AgentOnDisk, atEnd } from '../../support/commands/commands.js';
import { at, eventually, pairedHost, runJson } from '../../support/fleet/fleet.js';

const fileOf = (path: string) => fileURLToPath(new URL(`../../../${path}`, import.meta.url));
const ours = fileOf('tests/support/commands/actions-agent.mjs');
const { control, fresh, ask, running } = pairedHost();

/** Runs a program that serves an agent, and waits until it does, or has ended. */
async function serveWith(file: string, agent: AgentOnDisk) {
  const child = spawn(process.execPath, [file, agent.home], { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  let over = false;
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
    });
  const ended = new Promise<number | null>((resolve) =>
    child.once('close', (code) => {
      over = true;
      resolve(code);
    }),
  );
  const stop = (signal: NodeJS.Signals = 'SIGTERM') => {
    child.kill(signal);
    return ended;
  };
  atEnd(() => stop('SIGKILL'));
  await eventually(() => expect(over || text.includes('Serving on')).toBe(true));
  return { child, output: () => text, stop, ended };
}

async function serving(conf = '') {
  const agent = await fresh(conf);
  const served = await serveWith(ours, agent);
  const log = () =>
    existsSync(join(agent.home, 'log'))
      ? readFileSync(join(agent.home, 'log'), 'utf8').trimEnd().split('\n')
      : [];
  const open = () => writeFileSync(join(agent.home, 'open'), '');
  return { agent, log, open, ...served };
}

/** Submits an async run; its id. */
async function submit(agent: AgentOnDisk, script: string): Promise<string> {
  const { code, stdout, stderr } = await control().command('run', '--async', '--json', at(agent), script);
  if (code !== 0) throw new Error(`${stdout}${stderr}`);
  return JSON.parse(stdout).reqid;
}

const statusOf = async (reqid: string) => {
  const { hosts } = JSON.parse((await control().command('status', reqid, '--json')).stdout);
  return Object.values(hosts)[0];
};

describe('an agent with functions', () => {
  it('advertises them beside scripts, and runs both', async () => {
    const agent = await fresh();
    agent.script('script', '#!/bin/sh\necho script\n');
    await serveWith(ours, agent);
    const { stdout } = await control().command('discovery', '--json', at(agent));
    const [host] = Object.values(JSON.parse(stdout).hosts) as { scripts: { name: string }[] }[];
    expect(host?.scripts).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ name: 'argv', path: 'action:argv', executable: true }),
        expect.objectContaining({
          ...{ name: 'described', executable: true, schema_version: '3' },
          schema: { description: 'Seven.', version: '3', read_only: true },
        }),
        expect.objectContaining({ name: 'script', path: expect.stringMatching(/^\//), executable: true }),
      ]),
    );
    expect(await running(agent, 'script')).toMatchObject({ exit: 0, stdout: 'script\n' });
    expect(await running(agent, 'described')).toMatchObject({ exit: 7, stdout: '' });
    expect(await running(agent, 'constructor')).toMatchObject({ exit: -1, error: 'script not permitted' });
  });

  it('gives hostile arguments to the function as they are', async () => {
    const { agent } = await serving();
    const hostile = [
      '',
      ' ',
      '$(id)',
      '; rm -rf /',
      '\'"`\\',
      'a\nb',
      '\u202e',
      '🎉',
      '__proto__',
      '--',
      '-x',
    ];
    const result = await running(agent, 'argv', ...hostile);
    expect(JSON.parse(result.stdout)).toEqual(hostile);
  });

  it('tells it what scripts are told, the token included, which is in no log', async () => {
    const { agent, output } = await serving();
    const answer = await ask(agent, 'told', ['a'], { username: 'alice', token: 'sesame-7' });
    expect(JSON.parse(answer.stdout)).toEqual({
      args: ['a'],
      reqid: answer.reqid,
      username: 'alice',
      dispatcher: 'control',
      peerIp: '127.0.0.1',
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/),
      token: 'sesame-7',
    });
    expect(JSON.parse((await ask(agent, 'told')).stdout)).not.toHaveProperty('token');
    expect(output()).not.toContain('sesame-7');
  });

  it('answers with a code, a text, and the message of what was thrown, never its stack', async () => {
    const { agent, output } = await serving();
    expect(await running(agent, 'hello', 'a', 'b')).toMatchObject({
      exit: 0,
      stdout: 'hello a b from tester',
    });
    expect(await running(agent, 'code', '42')).toMatchObject({ exit: 42, stdout: '', stderr: '' });
    expect(await running(agent, 'code', '300')).toMatchObject({
      exit: 1,
      stderr: 'the action returned 300, expected nothing, an exit code from 0 to 255, or a text\n',
    });
    const thrown = await running(agent, 'throws');
    expect(thrown).toMatchObject({ exit: 1, stdout: '', stderr: 'the index is broken\n' });
    expect(output()).toMatch(/"action":"action-failed".*it threw Error at .*actions-agent\.mjs:\d+:\d+/);
    expect(output()).not.toContain('the index is broken');
    expect(await running(agent, 'hello')).toMatchObject({ exit: 0 });
  });

  it('cuts output at the limit and counts all of it', async () => {
    const { agent } = await serving('max_output = 1000\n');
    const result = await running(agent, 'flood');
    expect(result).toMatchObject({ exit: 0, stderr: 'done', truncated: { stdout: 4 * 1024 * 1024 } });
    expect(result.stdout).toHaveLength(1000);
  });

  it('is followed as it prints', async () => {
    const { agent, open } = await serving();
    const following = control().start('run', '--follow', at(agent), 'chatty');
    await following.shows(/: one$/m);
    await following.shows(/ STDERR: two$/m);
    expect(following.output()).not.toContain('three');
    open();
    const { code, stdout } = await following.ended;
    expect([code, stdout]).toEqual([0, expect.stringMatching(/: three\n==> .*\[OK/s)]);
  });

  it('ends one whose time is up, and one that is cancelled', async () => {
    const { agent, log } = await serving();
    const [late] = await runJson(control(), [at(agent)], 'heeds', [], ['--timeout', '1']);
    expect(late).toMatchObject({ exit: 126, error: 'killed by SIGTERM: ran longer than 1 s', stderr: '' });
    expect(log()).toEqual([expect.stringMatching(/^begun/), 'told TimeoutError']);
    const following = control().start('run', '--follow', at(agent), 'heeds');
    const reqid = await following.shows(/^Following run ([0-9a-f]{16})$/m, 'stderr');
    await eventually(() => expect(log()).toContain(`begun ${reqid}`));
    expect((await control().command('cancel', reqid)).code).toBe(0);
    const { stdout } = await following.ended;
    expect(stdout).toMatch(/\[FAIL {2}exit:-1 .*\n {4}ERROR: cancelled/);
    expect(log().at(-1)).toBe('told AbortError');
  });

  it('says so where one goes on, and keeps its place until it has ended', async () => {
    const { agent, log, open, output } = await serving('max_runs = 1\n');
    const [ignored] = await runJson(control(), [at(agent)], 'ignores', [], ['--timeout', '1']);
    expect(ignored).toMatchObject({
      exit: 126,
      error: 'told to end: ran longer than 1 s, but it goes on: an action cannot be killed',
    });
    expect(output()).toContain('"action":"action-goes-on"');
    expect(await running(agent, 'hello')).toMatchObject({ exit: -1, error: expect.stringContaining('busy') });
    open();
    await eventually(() => expect(log()).toEqual(['begun', 'ended']));
    await eventually(async () => expect(await running(agent, 'hello')).toMatchObject({ exit: 0 }));
  });

  it('runs one on its own: status, one at a time, result, and cancel', async () => {
    const { agent, log, open } = await serving();
    const first = await submit(agent, 'heeds');
    await eventually(() => expect(log()).toEqual([`begun ${first}`]));
    expect(await statusOf(first)).toMatchObject({ status: 'running' });
    const second = await control().command('run', '--async', at(agent), 'heeds');
    expect(second.stderr).toContain('Locked: already running');
    // The agent has the last word, whoever asks.
    expect(await ask(agent, 'heeds', [], { async: true })).toMatchObject({
      ...{ status: 'busy', error: 'script already running' },
    });
    expect((await control().command('cancel', first)).code).toBe(0);
    await control().command('wait', first);
    expect(await statusOf(first)).toMatchObject({ status: 'cancelled', state: 'cancelled', exit: -1 });
    open();
    const third = await submit(agent, 'chatty');
    expect((await control().command('wait', third)).code).toBe(0);
    expect(await statusOf(third)).toMatchObject({
      ...{ status: 'done', exit: 0 },
      ...{ stdout: 'one\nthree\n', stderr: 'two\n' },
    });
  });

  it('that is killed has lost what ran, says so, and never begins it again', async () => {
    const { agent, log, stop, open } = await serving();
    const running = (id: string, more: object) => ask(agent, 'heeds', [], { reqid: id, ...more });
    const alone = () => ask(agent, 'ignores', [], { reqid: 'sync-1' });
    const lone = alone().catch(() => undefined);
    expect(await running('async-1', { async: true })).toMatchObject({ status: 'accepted' });
    const submitted = await submit(agent, 'chatty');
    await eventually(() => expect(log()).toHaveLength(2));
    await stop('SIGKILL');
    await lone;
    open();
    await serveWith(ours, agent);
    expect(await alone()).toMatchObject({ exit: -1, error: expect.stringMatching(/^lost: /) });
    expect(await running('async-1', {})).toMatchObject({
      exit: -1,
      error: 'lost: the agent went down while it ran',
    });
    expect(await running('async-1', { async: true })).toMatchObject({ status: 'accepted' });
    expect(await statusOf(submitted)).toMatchObject({
      status: 'lost',
      error: expect.stringContaining('the agent went down while it ran'),
    });
    expect(log().sort()).toEqual(['begun', 'begun async-1']);
    const next = await submit(agent, 'heeds');
    expect((await control().command('wait', next)).code).toBe(0);
    expect(log()).toContain(`ended ${next}`);
  });

  it('lets what runs finish when it is stopped', async () => {
    const { agent, log, stop, open, output } = await serving();
    const reqid = await submit(agent, 'heeds');
    await eventually(() => expect(log()).toEqual([`begun ${reqid}`]));
    const stopped = stop();
    await eventually(async () => expect(await ask(agent, 'hello').catch(() => 'gone')).toBe('gone'));
    open();
    expect(await stopped).toBe(0);
    expect(log()).toEqual([`begun ${reqid}`, `ended ${reqid}`]);
    expect(output()).toMatch(/"action":"job-end".*"status":"done"/);
    await serveWith(ours, agent);
    expect(await statusOf(reqid)).toMatchObject({ status: 'done', exit: 0 });
  });

  it('does not serve with a name that is a script, too, and keeps its functions through a reload', async () => {
    const agent = await fresh();
    agent.script('extra', '#!/bin/sh\necho extra\n');
    const { child, output } = await serveWith(ours, agent);
    agent.script('hello', '#!/bin/sh\necho script\n');
    child.kill('SIGHUP');
    await eventually(() => expect(output()).toContain('reload-failed'));
    expect(await running(agent, 'hello', 'x')).toMatchObject({ stdout: 'hello x from tester' });
    const other = await serveWith(ours, agent);
    expect(await other.ended).toBe(78);
    expect(other.output()).toMatch(/refused: .*"code":"config_invalid".*scripts\.conf:2: .*hello/);
    writeFileSync(join(agent.home, 'scripts.conf'), '');
    child.kill('SIGHUP');
    await eventually(() => expect(output()).toContain('"action":"reloaded"'));
    expect(await running(agent, 'extra')).toMatchObject({ error: 'script not permitted' });
    expect(await running(agent, 'hello', 'x')).toMatchObject({ exit: 0 });
  });
});

describe('the example', () => {
  it('does what its README says', async () => {
    const agent = await fresh();
    const { stop } = await serveWith(fileOf('examples/agent-with-functions/agent.mjs'), agent);
    expect(await running(agent, 'lookup', 'welcome')).toMatchObject({
      exit: 0,
      stdout: 'A page about pairing.\n',
    });
    expect(await running(agent, 'lookup', '../x')).toMatchObject({
      exit: 1,
      stderr: 'there is no document "../x"\n',
    });
    const followed = await control().start('run', '--follow', at(agent), 'reindex', '--', '1').ended;
    expect([followed.code, followed.stdout]).toEqual([0, expect.stringContaining(': limits done\n')]);
    expect(await running(agent, 'count')).toMatchObject({ stdout: '2 of 2 documents are indexed\n' });
    expect(await stop()).toBe(0);
  });
});
