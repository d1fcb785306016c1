import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { osPrincipal } from '../../../src/adapters/system/principal.js';
import { shared, start, temporaryDirectory } from '../../support/commands/commands.js';
import { eventually, pairedFleet } from '../../support/fleet/fleet.js';

const program = fileURLToPath(new URL('../../support/commands/keyed-run.mjs', import.meta.url));
const library = new URL('../../../dist/library/index.js', import.meta.url).href;
const hosts = ['web-01', 'web-02'] as const;

const fleet = shared(async () => {
  const log = temporaryDirectory();
  const job = (name: string) => `#!/bin/sh\nprintf x >> ${log}/${name}.$1\nsleep 0.2\necho done\n`;
  const agents = hosts.map((name) => [name, { name, scripts: { job: job(name) }, serves: true }]);
  const { control } = await pairedFleet(Object.fromEntries(agents), 'read_timeout = 10\n');
  return { control, log };
});

/** How often the script was begun on each host. */
const begun = (arg: string) =>
  hosts.map((name) => {
    const file = join(fleet().log, `${name}.${arg}`);
    return existsSync(file) ? readFileSync(file, 'utf8').length : 0;
  });

interface Answer {
  readonly reqid: string;
  readonly results: readonly {
    readonly exit?: number;
    readonly status?: string;
    readonly stdout?: string;
    readonly error?: string;
    readonly state: string;
  }[];
}

/** A process of its own that asks by this key. */
function asking(key: string, arg: string, mode: 'sync' | 'async' = 'sync') {
  const child = spawn(process.execPath, [program, library, fleet().control.home, key, arg, mode], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exit = once(child, 'close');
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await exit;
  });
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const until = async (member: string): Promise<unknown> => {
    for (let next = await lines.next(); !next.done; next = await lines.next()) {
      const line = JSON.parse(next.value) as Record<string, unknown>;
      if (member in line) return line[member];
      if ('error' in line) throw new Error(JSON.stringify(line['error']));
    }
    throw new Error(`it ended without ${member}`);
  };
  return {
    until,
    answer: async () => (await until('answer')) as Answer,
    kill: async () => {
      child.kill('SIGKILL');
      await exit;
    },
  };
}

/** What is the same whenever it is asked: of a submission, how its hosts took it, and not how they stand since. */
const told = (answer: Answer | undefined) => ({
  ...answer,
  results: answer?.results.map((each) =>
    each.status === undefined ? each : { ...each, state: undefined, rtt: undefined },
  ),
});

describe('one idempotency key and several processes', () => {
  it.each(['sync', 'async'] as const)('at once: one runs (%s), and all have its answer', async (mode) => {
    const arg = `race-${mode}`;
    const all = Array.from({ length: 4 }, () => asking(arg, arg, mode));
    const answers = await Promise.all(all.map((each) => each.answer()));
    for (const answer of answers) expect(told(answer)).toEqual(told(answers[0]));
    expect(answers[0]?.results).toHaveLength(2);
    if (mode === 'sync') expect(answers[0]?.results).toMatchObject([{ exit: 0 }, { exit: 0 }]);
    else expect(answers[0]?.results).toMatchObject([{ status: 'accepted' }, { status: 'accepted' }]);
    if (mode === 'sync') expect(begun(arg)).toEqual([1, 1]);
    const again = await asking(arg, arg, mode).answer();
    expect(told(again)).toEqual(told(answers[0]));
    expect((await fleet().control.command('wait', again.reqid)).code).toBe(0);
    expect(begun(arg)).toEqual([1, 1]);
    const later = await asking(arg, arg, mode).answer();
    expect(told(later)).toEqual(told(answers[0]));
    expect(later.results).toMatchObject([{ state: 'succeeded' }, { state: 'succeeded' }]);
  });

  it('another request by the same key is refused in every process', async () => {
    await asking('taken', 'first').answer();
    await expect(asking('taken', 'second').answer()).rejects.toThrow('idempotency_mismatch');
    expect(begun('second')).toEqual([0, 0]);
  });

  /** Milliseconds from when it was ready, from when it was recorded, or from when the first host had begun. */
  const moments = [
    ...[0, 32, 128].map((delay) => ['ready', delay] as const),
    ...[0, 32, 512].map((delay) => ['reqid', delay] as const),
    ...[0, 50, 150].map((delay) => ['begun', delay] as const),
  ];

  it('kill -9 at any moment: what is asked again never runs twice, and is never told wrongly', async () => {
    const tally = { afresh: 0, notBegun: 0, ended: 0 };
    for (const [from, delay] of moments) {
      const arg = `kill-${from}-${delay}`;
      const first = asking(arg, arg);
      if (from !== 'begun') await first.until(from);
      else await eventually(() => expect(begun(arg)).toContain(1));
      await new Promise((resolve) => setTimeout(resolve, delay));
      await first.kill();
      const before = begun(arg);
      const again = await asking(arg, arg).answer();
      const counts = begun(arg);
      for (const [index, { state, exit, stdout, error }] of again.results.entries()) {
        const said = [arg, state, exit, stdout, error];
        if (counts[index] === 1) expect(said).toEqual([arg, 'succeeded', 0, 'done\n', undefined]);
        else {
          expect([counts[index], arg, exit, stdout]).toEqual([0, arg, -1, '']);
          // Records of less than a minute prove nothing; older ones prove that it never began there.
          expect(`${state}: ${error}`).toMatch(
            /^(unknown: .*its agent has no record of it|unreachable: the request did not reach the agent in time)/,
          );
        }
        if (counts[index] === 0) tally.notBegun += 1;
        else tally[before[index] === 0 ? 'afresh' : 'ended'] += 1;
      }
      expect(await asking(arg, arg).answer()).toEqual(again);
    }
    for (const [from, delay] of moments)
      for (const count of begun(`kill-${from}-${delay}`)) expect(count).toBeLessThanOrEqual(1);
    process.stdout.write(`killed ${moments.length} times: ${JSON.stringify(tally)}\n`);
    expect(tally.ended).toBeGreaterThan(0);
  }, 180_000);
});

describe('the commands', () => {
  it('a run that was typed behind sudo is recorded as of who typed it, whatever USER says', async () => {
    const { control } = fleet();
    const loginUid = existsSync('/proc/self/loginuid') ? readFileSync('/proc/self/loginuid', 'utf8') : '';
    const env = { SUDO_USER: 'sudoer', USER: 'root', LOGNAME: 'root' };
    const options = { home: control.home, env, input: '' };
    const typed = ['run', '--json', ...hosts, 'job', '--', 'sudo'];
    const { reqid } = JSON.parse((await start('ctrl-exec', typed, options).ended).stdout);
    const { runs } = JSON.parse((await control.command('runs', '--limit', '200', '--json')).stdout);
    const recorded = runs.find((each: { reqid: string }) => each.reqid === reqid);
    const unset = /^(4294967295)?$/.test(loginUid) && process.getuid?.() === 0;
    expect(recorded).toMatchObject({ principal: unset ? 'os:sudoer' : osPrincipal(), username: 'root' });
  });

  it('runs lists what took place, and retry runs it again where it failed', async () => {
    const { control } = fleet();
    const ran = await control.command(
      'run',
      '--json',
      '--username',
      'eve',
      ...hosts,
      '127.0.0.1:1',
      'job',
      '--',
      'cli',
    );
    const { reqid } = JSON.parse(ran.stdout);
    const listed = await control.command('runs', '--user', 'eve', '--outcome', 'unreachable', '--json');
    const { ok, runs } = JSON.parse(listed.stdout);
    expect([listed.code, ok, runs.length]).toEqual([0, 1, 1]);
    expect(runs[0]).toMatchObject({ reqid, script: 'job', outcome: 'failed', failed: ['127.0.0.1:1'] });
    expect(runs[0].counts).toEqual({ succeeded: 2, unreachable: 1 });
    const table = (await control.command('runs', '--limit', '1')).stdout;
    expect(table).toMatch(
      new RegExp(`^REQID .*\\n-+\\n${reqid}  .* failed +2 succeeded, 1 unreachable +127\\.0\\.0\\.1:1\\n$`),
    );
    expect(JSON.stringify([listed, table])).not.toContain('cli');
    const retried = await control.command('retry', reqid, '--json');
    expect(retried.code).toBe(1);
    expect(JSON.parse(retried.stdout).results).toMatchObject([{ host: '127.0.0.1:1', exit: -1 }]);
    expect(begun('cli')).toEqual([1, 1]);
    const [latest] = JSON.parse(
      (await control.command('runs', '--host', '127.0.0.1:1', '--json')).stdout,
    ).runs;
    expect(latest).toMatchObject({ retry_of: reqid, hosts: ['127.0.0.1:1'] });
    expect((await control.command('runs', '--outcome', 'fine')).code).toBe(64);
    const unknown = await control.command('retry', '0'.repeat(16));
    expect([unknown.code, unknown.stdout]).toEqual([1, '']);
  });
});
