import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { supervisedJobs } from '../../../src/adapters/child-process/jobs/supervised.js';
import { jobSupervisorFile } from '../../../src/apps/job-supervisor-file.js';
import { value } from '../../contract/result.js';
import { bundle } from '../commands/bundle.js';

/** Numbers from 0 to 1 that depend on the seed alone (mulberry32). */
const random = (seed: number) => {
  let state = seed >>> 0;
  return (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
};

const jobsOfRound = 3;
/** Milliseconds: longer than starting three jobs takes. */
const longest = 400;

/**
 * Kills (-9) at random moments, in turn: the agent's process while it starts jobs; one of the processes that watch over
 * them; both. Each time another process looks at what became of every job, and submits it again.
 */
export function describeKilledJobs(rounds: number, seed: number): void {
  describe(`jobs whose agent or watcher is killed, ${rounds} times, seed ${seed}`, () => {
    const next = random(seed);
    const supervisor = jobSupervisorFile() ?? '';
    const tally: Record<string, number> = {};
    const count = (what: string) => {
      tally[what] = (tally[what] ?? 0) + 1;
    };
    let home: string;
    let starter: string;
    let script: string;
    let log: string;

    beforeAll(() => {
      home = mkdtempSync(join(tmpdir(), 'killed-jobs-'));
      starter = join(home, 'starter.mjs');
      bundle('tests/support/kill/job-starter.ts', starter);
      script = join(home, 'script');
      log = join(home, 'log');
      writeFileSync(log, '');
      writeFileSync(script, '#!/bin/sh\necho "$2" >>"$1"\necho ran\nsleep 0.1\n', { mode: 0o755 });
    });
    afterAll(() => {
      rmSync(home, { recursive: true, force: true });
      const told = Object.entries(tally).map(([what, times]) => `${what}: ${times}`);
      process.stdout.write(`killed jobs, ${rounds} rounds, seed ${seed}: ${told.join(', ')}\n`);
    });

    const killWatcher = (directory: string): void => {
      const watchers = readdirSync(directory)
        .map((name) => join(directory, name, 'watcher'))
        .filter((path) => existsSync(path))
        .map((path) => (JSON.parse(readFileSync(path, 'utf8')) as { watcher: { pid: number } }).watcher.pid);
      const pid = watchers[Math.floor(next() * watchers.length)];
      if (pid === undefined) return;
      try {
        process.kill(pid, 'SIGKILL');
        count('watchers killed');
      } catch {
        count('watchers that had ended');
      }
    };

    it('none is accepted and forgotten, none runs twice, none runs for ever', async () => {
      const ran = (reqid: string) =>
        readFileSync(log, 'utf8')
          .split('\n')
          .filter((line) => line === reqid).length;
      for (let round = 0; round < rounds; round += 1) {
        const directory = join(home, `jobs-${round}`);
        const reqids = Array.from({ length: jobsOfRound }, (_, index) => `r${round}-${index}`);
        const agent = spawn(process.execPath, [starter, directory, supervisor, script, log], {
          stdio: 'pipe',
        });
        const output = text(agent.stdout);
        const complaints = text(agent.stderr);
        const gone = new Promise((resolve) => agent.once('close', resolve));
        agent.stdin.on('error', () => undefined);
        agent.stdin.write(reqids.map((reqid) => `${reqid}\n`).join(''));
        // The moment is what is tried; what follows waits for what it needs.
        await delay(60 + next() * longest);
        const victim = ['agent', 'watcher', 'both'][round % 3];
        if (victim !== 'agent' && existsSync(directory)) killWatcher(directory);
        if (victim === 'watcher') agent.stdin.end();
        else agent.kill('SIGKILL');
        await gone;
        expect(await complaints).toMatch(victim === 'watcher' ? /^$|was not started/ : /^$/);
        const accepted = new Set(
          (await output)
            .split('\n')
            .filter((line) => line.endsWith(' accepted'))
            .map((line) => line.split(' ')[0]),
        );

        const jobs = supervisedJobs({ directory, supervisor, killAfter: 1_000 });
        for (const reqid of reqids) {
          const key = { owner: 'dispatcher-1', reqid };
          const job = value(await jobs.wait(key));
          count('submitted');
          if (accepted.has(reqid)) count('accepted');
          if (job === undefined) {
            expect([reqid, accepted.has(reqid), ran(reqid)]).toEqual([reqid, false, 0]);
            count('unknown, never run');
          } else if (job.status === 'lost') {
            expect(ran(reqid)).toBeLessThanOrEqual(1);
            count(ran(reqid) === 0 ? 'lost, never run' : 'lost, run once');
          } else {
            expect(job).toMatchObject({ status: 'done', result: { end: { kind: 'exited', code: 0 } } });
            expect([reqid, ran(reqid)]).toEqual([reqid, 1]);
            count('done once');
          }
          const program = {
            ...{ path: script, args: [log, reqid], stdin: new Uint8Array(), env: { PATH: '/usr/bin:/bin' } },
            ...{ stdinTimeout: 1000, timeout: 0, maxOutput: 10_000 },
          };
          const before = ran(reqid);
          const again = value(await jobs.start({ ...key, script: reqid, startedAt: Date.now(), program }));
          expect([reqid, again.kind]).toEqual([reqid, job === undefined ? 'accepted' : 'known']);
          await jobs.wait(key);
          expect(ran(reqid)).toBe(job === undefined ? 1 : before);
        }
        expect(value(await jobs.running())).toEqual([]);
        expect(value(await jobs.purge(Date.now() + 1000))).toBe(jobsOfRound);
        await jobs.close();
      }
      expect(tally['submitted']).toBe(rounds * jobsOfRound);
    });
  });
}
