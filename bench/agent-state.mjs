// Replay cache and run store of an agent: latency, memory of a full cache, the longest pause. Prints one JSON object.
import { mkdtempSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { build } from 'esbuild';

const capacity = 262_144;
const samples = 20_000;
const home = mkdtempSync(join(tmpdir(), 'ctrl-exec-bench-'));

/** @param {string} name */
const load = async (name) => {
  const outfile = join(home, `${name}.mjs`);
  await build({
    entryPoints: [join(import.meta.dirname, `../src/adapters/files/${name}.ts`)],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    logLevel: 'warning',
  });
  return import(outfile);
};

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc');
const memory = () => {
  collect();
  collect();
  const { rss, heapUsed, arrayBuffers } = process.memoryUsage();
  return { rss, used: heapUsed + arrayBuffers };
};
const mebibytes = (/** @type {number} */ bytes) => Math.round((bytes / 1024 / 1024) * 10) / 10;
const round = (/** @type {number} */ value) => Math.round(value * 10) / 10;

/** @param {number[]} times milliseconds */
const percentiles = (times) => {
  const sorted = times.slice().sort((a, b) => a - b);
  const at = (/** @type {number} */ part) =>
    round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0) * 1000);
  return { p50_us: at(0.5), p95_us: at(0.95), p99_us: at(0.99), max_us: at(1) };
};

/** @param {number} count @param {(index: number) => PromiseLike<unknown>} call */
const timed = async (count, call) => {
  const times = [];
  for (let index = 0; index < count; index += 1) {
    const before = performance.now();
    await call(index);
    times.push(performance.now() - before);
  }
  return percentiles(times);
};

/** The longest time in which the event loop did nothing else. @param {() => Promise<unknown>} work */
const longestPause = async (work) => {
  let longest = 0;
  let last = performance.now();
  let stopped = false;
  const tick = () => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    if (!stopped) setImmediate(tick);
  };
  setImmediate(tick);
  await work();
  stopped = true;
  longest = Math.max(longest, performance.now() - last);
  return round(longest);
};

const nonceOf = (/** @type {number} */ index) =>
  Buffer.from(`nonce ${index}`.padEnd(16)).toString('base64url');
const keyid = `x5t-s256:${'k'.repeat(43)}`;

try {
  const { fileReplayCache } = await load('replay-cache');
  const { fileAgentRuns } = await load('agent-runs');
  const reference = await open(join(home, 'reference'), 'w');
  const bytes = Buffer.alloc(32);
  const bareWrite = await timed(samples, () => reference.write(bytes, 0, 32, null));
  await reference.close();

  const start = Date.now();
  const settings = { directory: join(home, 'replay'), capacity };
  const before = memory();
  let cache = fileReplayCache(settings);
  await cache.begin();
  let next = 0;
  const enter = (/** @type {number} */ now) =>
    cache.enter({ keyid, nonce: nonceOf(next++), until: now + 90_000 + (next % 60) * 1000 }, now);
  const sequential = await timed(samples, () => enter(start));
  const fillingFrom = performance.now();
  const filling = await longestPause(async () => {
    while (next < capacity) {
      await Promise.all(Array.from({ length: Math.min(32, capacity - next) }, () => enter(start)));
    }
  });
  const entriesPerSecond = Math.round((capacity - samples) / ((performance.now() - fillingFrom) / 1000));
  const full = (await enter(start))._unsafeUnwrap();
  const after = memory();
  await cache.close();
  cache = fileReplayCache(settings);
  const openingFrom = performance.now();
  const opening = await longestPause(() => cache.complete());
  const openingMilliseconds = round(performance.now() - openingFrom);
  const later = start + 200_000;
  const forgetting = await longestPause(async () => {
    for (let count = 0; count < 1000; count += 1) await enter(later);
  });
  await cache.close();

  const runsBefore = memory();
  const runs = fileAgentRuns({ directory: join(home, 'runs') });
  const keyOf = (/** @type {number} */ index) => ({ owner: 'dispatcher-1', reqid: `a3f9b2c1${index}` });
  const answer = Buffer.from(JSON.stringify({ script: 'backup', exit: 0, stdout: '', stderr: '' }));
  const begin = await timed(samples, (index) => runs.begin(keyOf(index), 'backup', start + index));
  const end = await timed(samples, (index) => runs.end(keyOf(index), start + index + 5, answer));
  const runsAfter = memory();
  const purging = await longestPause(() => runs.purge(start + samples));
  await runs.close();

  const result = {
    benchmark: 'agent-state',
    machine: { cpu: cpus()[0]?.model, cores: cpus().length, platform: process.platform },
    versions: { node: process.version, v8: process.versions.v8 },
    reference: { what: 'a write of 32 bytes through node:fs/promises', ...bareWrite },
    replay: {
      full,
      enter: sequential,
      ratio_p50: round(sequential.p50_us / bareWrite.p50_us),
      entries_per_second_32_at_once: entriesPerSecond,
      full_cache_mib: { used: mebibytes(after.used - before.used), rss: mebibytes(after.rss - before.rss) },
      opening_full_ms: openingMilliseconds,
      longest_pause_ms: { filling, opening, forgetting },
    },
    runs: {
      begin,
      end,
      ratio_begin_p50: round(begin.p50_us / bareWrite.p50_us),
      bytes_each: Math.round((runsAfter.used - runsBefore.used) / samples),
      longest_pause_ms: { purging },
    },
  };
  console.log(JSON.stringify(result, undefined, 2));
} finally {
  rmSync(home, { recursive: true });
}
