import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { supervisedJobs } from '../../src/adapters/child-process/jobs/supervised.js';
import { value } from '../contract/result.js';
import { bundle } from '../support/commands/bundle.js';
import { leaveNothingBehind } from '../support/kill/sweep.js';
import { jobSupervisor } from '../support/processes/job-supervisor.js';

leaveNothingBehind();

const gibibyte = 1024 ** 3;
const maxOutput = 16 * 1024 * 1024;

describe('1 GiB on each stream', () => {
  const supervisor = jobSupervisor();
  let home: string;
  let host: string;
  let script: string;

  beforeAll(() => {
    home = mkdtempSync(join(tmpdir(), 'flood-'));
    host = join(home, 'host.mjs');
    script = join(home, 'flood');
    bundle('tests/support/processes/flood-host.ts', host);
    const flood = `head -c ${gibibyte} /dev/zero`;
    writeFileSync(
      script,
      `#!/bin/sh\n${flood} & ${flood} >&2 & wait\nif [ -n "$1" ]; then grep VmHWM /proc/$PPID/status >"$1"; fi\n`,
      { mode: 0o755 },
    );
  });
  afterAll(() => rmSync(home, { recursive: true, force: true }));

  it.each(['keep', 'stream'])('needs no more memory than what is kept of it (%s)', async (mode) => {
    const began = performance.now();
    const { stdout } = await promisify(execFile)(process.execPath, [host, script, String(maxOutput), mode]);
    const { kept, given, peak } = JSON.parse(stdout) as { kept: number[][]; given: number; peak: number };
    process.stdout.write(
      `2 GiB through a run (${mode}): peak ${peak.toFixed(0)} MiB, ${((performance.now() - began) / 1000).toFixed(1)} s\n`,
    );
    expect(kept).toEqual([
      [maxOutput, gibibyte],
      [maxOutput, gibibyte],
    ]);
    expect(given).toBe(mode === 'stream' ? 2 * gibibyte : 0);
    expect(peak).toBeLessThan(256);
  });

  it('needs less where a job keeps it in files', async () => {
    const directory = join(home, 'jobs');
    mkdirSync(directory);
    const jobs = supervisedJobs({ directory, supervisor });
    const key = { owner: 'dispatcher-1', reqid: 'r1' };
    const told = join(home, 'told');
    const began = performance.now();
    await jobs.start({
      ...{ ...key, script: 'flood', startedAt: 0 },
      program: {
        ...{ path: script, args: [told], stdin: new Uint8Array(), env: { PATH: '/usr/bin:/bin' } },
        ...{ stdinTimeout: 10_000, timeout: 0, maxOutput },
      },
    });
    const taken = performance.now() - began;
    const job = value(await jobs.wait(key));
    await jobs.close();
    const peak = Number(/\d+/.exec(readFileSync(told, 'utf8'))?.[0]) / 1024;
    process.stdout.write(
      `2 GiB through a job: accepted after ${taken.toFixed(0)} ms, peak of what watches ${peak.toFixed(0)} MiB, ` +
        `${((performance.now() - began) / 1000).toFixed(1)} s\n`,
    );
    if (job?.status !== 'done' || 'notRun' in job.result) throw new Error('it did not run');
    const { stdout, stderr } = job.result;
    expect([stdout.bytes.length, stdout.total]).toEqual([maxOutput, gibibyte]);
    expect([stderr.bytes.length, stderr.total]).toEqual([maxOutput, gibibyte]);
    expect(peak).toBeLessThan(128);
  });
});
