// Everything at once for a while, and then everything must be gone: `npm run soak`.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, rmSync, statSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { value } from '../contract/result.js';
import { seeded } from '../support/network/mutate.js';
import {
  connectionsOf,
  type Levels,
  levelsOf,
  lookAtMyself,
  lookInside,
  processesOf,
  residentOf,
  sampled,
} from '../support/soak/levels.js';
import { asks, countsOf } from '../support/soak/load.js';
import { makePlace } from '../support/soak/place.js';

const { values: options } = parseArgs({
  options: {
    minutes: { type: 'string', default: '10' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 32)) },
    root: { type: 'string', default: process.cwd() },
    hostile: { type: 'string', default: '' },
  },
});
const [minutes, seed] = [Number(options.minutes), Number(options.seed)];
if (!(minutes > 0) || !Number.isInteger(seed))
  throw new Error('usage: npm run soak -- [--minutes N] [--seed N]');

const lanes = 6;
const slowCount = 70;
/** Milliseconds in which everything must have come to rest. */
const restPatience = 180_000;
const say = (text: string) => console.log(text);
const random = seeded(seed);
const counts = countsOf();
const hostile = new Map<string, number>();
const place = await makePlace(options.root, lanes);
const { directory, dispatcher } = place;
// What still runs of the scripts ends when it finds its file gone.
const removed = async () => {
  await place.end();
  rmSync(directory, { recursive: true, force: true });
};
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => void removed().finally(() => process.exit(1)));

const model = cpus()[0]?.model ?? 'unknown';
say(
  `${cpus().length} × ${model}, ${process.platform}, Node ${process.version}, OpenSSL ${process.versions.openssl}; ${minutes} min, --seed ${seed}`,
);

/** Told of each line of the agent that says how a reload went. */
let onReload: ((how: string) => void) | undefined;
const agent = await place.serve((line) => {
  const how = /^ACTION=(reloaded|reload-failed) /.exec(line)?.[1];
  if (how) onReload?.(how);
  if (/^ACTION=internal-error|^ {4}at |Warning:/.test(line)) counts.surprise('agent', line);
});
value(await dispatcher.editAgent('web-01', { port: agent.port }));
let over = false;
agent.child.once('close', (code, signal) => {
  if (!over) counts.surprise('agent', `ended by itself: ${code ?? signal}`);
});

const mine = [process.pid, agent.pid];
/** One after the other, each of the levels that must be back. */
const levels = async () => ({
  agent: await sampled(() => levelsOf(agent.pid, () => lookInside(agent.inspector))),
  dispatcher: await sampled(() => levelsOf(process.pid, lookAtMyself)),
});

/** Waits until nothing runs, nobody is connected and `more` holds; says what does not, if that takes too long. */
async function rest(more: () => Promise<string> | string = () => ''): Promise<string> {
  const until = performance.now() + restPatience;
  for (;;) {
    const left = processesOf(directory, mine);
    const connections = connectionsOf(agent.port);
    const why =
      left.length > 0
        ? `${left.length} processes: ${left[0]}`
        : connections > 0
          ? `${connections} connections`
          : await more();
    if (why === '' || performance.now() > until) return why;
    await delay(250);
  }
}

/** Asks a process to end, and ends it if it does not; its exit code, or the signal. */
async function stopped(child: ChildProcess): Promise<number | string> {
  const ended = once(child, 'close');
  const impatience = setTimeout(() => child.kill('SIGKILL'), restPatience);
  child.kill('SIGTERM');
  const [code, signal] = await ended;
  clearTimeout(impatience);
  return code ?? signal;
}

/** Files below a directory of the agent's state, and their bytes. */
function filesBelow(name: string): { files: number; mib: number; entries: number } {
  const at = join(place.agentHome, 'state', name);
  const all = readdirSync(at, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const bytes = all.reduce(
    (sum, { parentPath, name }) =>
      sum + (statSync(join(parentPath, name), { throwIfNoEntry: false })?.size ?? 0),
    0,
  );
  return { files: all.length, mib: Math.round(bytes / 2 ** 20), entries: readdirSync(at).length };
}

/** Everything that is asked, for so many milliseconds; resolves when all of it has been answered. */
async function load(time: number): Promise<void> {
  const until = performance.now() + time;
  const list = asks(place);
  const weights = list.reduce((sum, { weight }) => sum + weight, 0);
  const choose = () => {
    let left = random() * weights;
    return list.find(({ weight }) => {
      left -= weight;
      return left < 0;
    });
  };
  let asked = 0;
  const lane = async (number: number) => {
    while (performance.now() < until) {
      const chosen = choose();
      if (!chosen) return;
      await counts.attempt(chosen.kind, () => chosen.ask(number, random));
      asked += 1;
      if (asked % 20 === 0) reloadAgain?.();
    }
    reloadAgain?.();
  };
  /** A reload after every twenty asks; every third of a broken file. */
  let reloadAgain: (() => void) | undefined;
  const reloads = async () => {
    for (let count = 0; performance.now() < until; count += 1) {
      await new Promise<void>((resolve) => {
        reloadAgain = resolve;
      });
      const broken = count % 3 === 2;
      const limits = count % 2 === 0 ? 'off' : 'on';
      place.configure(
        `async_ttl = 60\nrate_limit_disable = ${limits}\nmax_runs = ${broken ? 'many' : 40 + (count % 20)}\n[tags]\nn = ${count}\n`,
      );
      await counts.attempt(broken ? 'SIGHUP, broken file' : 'SIGHUP', async () => {
        const told = new Promise<string>((resolve) => {
          onReload = resolve;
        });
        agent.child.kill('SIGHUP');
        const how = await told;
        if (how !== (broken ? 'reload-failed' : 'reloaded')) throw new Error(how);
        return broken ? 'failed' : 'succeeded';
      });
    }
  };
  await Promise.all([
    ...Array.from({ length: lanes }, (_, number) => lane(number)),
    reloads(),
    besiege(until),
  ]);
}

/** Hostile clients in a process of their own, in waves: half of them are killed in the middle of everything. */
async function besiege(until: number): Promise<void> {
  for (let wave = 0; performance.now() < until; wave += 1) {
    const child: ChildProcess = spawn(process.execPath, [options.hostile], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const ended = once(child, 'close');
    const order = {
      ...{ count: slowCount, seed: Math.floor(random() * 2 ** 32), port: agent.port, who: place.who },
      ...{ addresses: ['127.0.0.1', '127.0.0.2', '127.0.0.3'], script: 'long' },
    };
    child.stdin?.write(`${JSON.stringify(order)}\n`);
    let last: Record<string, number> = {};
    if (child.stdout)
      createInterface({ input: child.stdout }).on('line', (line) => {
        last = JSON.parse(line);
      });
    await delay(Math.max(0, Math.min(20_000 + random() * 20_000, until - performance.now())));
    if (child.exitCode !== null) counts.surprise('hostile clients', `ended by themselves: ${child.exitCode}`);
    if (wave % 2 === 0) child.kill('SIGKILL');
    else child.stdin?.end();
    await ended;
    for (const [what, count] of Object.entries(last)) {
      hostile.set(what, (hostile.get(what) ?? 0) + count);
      if (what.endsWith('hung') && count > 0) counts.surprise(what, `${count}`);
    }
  }
}

/**
 * What may be left: nothing of what is counted one by one. Memory may be higher by what is remembered on purpose (each request id for a
 * day, 1 KiB allowed for) and by what V8 and the allocator keep for the next peak: 8 MiB of the heap after a full collection
 * and of buffers, and 128 MiB resident, three of the answers of 42 MB that clients do not read.
 */
const tolerance = (name: keyof Levels, runs: number): number =>
  name === 'rss' ? 128 + runs / 1024 : name === 'heap' || name === 'external' ? 8 + runs / 1024 : 0;

const differing = (before: Levels, after: Levels, runs: number): string[] =>
  Object.keys(before)
    .map((name) => name as keyof Levels)
    .filter((name) => after[name] > before[name] + tolerance(name, runs))
    .map((name) => `${name} ${before[name]} → ${after[name]}`);

const table = (rows: readonly (readonly (string | number)[])[]) => {
  const widths = (rows[0] ?? []).map((_, at) => Math.max(...rows.map((row) => String(row[at] ?? '').length)));
  for (const row of rows)
    say(
      row
        .map((cell, at) =>
          at === 0 ? String(cell).padEnd(widths[at] ?? 0) : String(cell).padStart(widths[at] ?? 0),
        )
        .join('  '),
    );
};

/** The highest resident sizes of the agent in each fifth of the time, until it is stopped: whether they grow. */
function peaks(time: number) {
  const highest = [0, 0, 0, 0, 0];
  const began = performance.now();
  const watching = setInterval(() => {
    const at = Math.min(4, Math.floor(((performance.now() - began) / time) * 5));
    highest[at] = Math.max(highest[at] ?? 0, residentOf(agent.pid));
  }, 1_000);
  return () => {
    clearInterval(watching);
    return highest;
  };
}

let failed = false;
const wrong = (what: string) => {
  failed = true;
  say(`NOT AS EXPECTED: ${what}`);
};

try {
  const warmUp = performance.now();
  await load(Math.min(30_000, minutes * 60_000));
  const atRest = await rest();
  if (atRest) wrong(`after the warm-up: ${atRest}`);
  const asksOf = () => [...counts.kinds.values()].reduce((sum, { attempted }) => sum + attempted, 0);
  const warmed = asksOf();
  const before = { levels: await levels(), runs: filesBelow('runs') };
  say(`warm-up: ${warmed} asked, at rest after ${Math.round((performance.now() - warmUp) / 1000)} s`);

  const watched = peaks(minutes * 60_000);
  await load(minutes * 60_000);
  const highest = watched();
  const resting = performance.now();
  const runs = asksOf() - warmed;
  const exact = async () => {
    const now = await levelsOf(agent.pid, () => lookInside(agent.inspector));
    const at = before.levels.agent;
    return now.descriptors > at.descriptors || now.handles > at.handles || now.children > at.children
      ? `agent: descriptors ${now.descriptors}, handles ${now.handles}, children ${now.children}`
      : '';
  };
  const left = await rest(exact);
  const rested = Math.round((performance.now() - resting) / 1000);
  const after = { levels: await levels(), runs: filesBelow('runs') };

  table([
    ['what', 'attempted', 'succeeded', 'failed as expected', 'unexpected'],
    ...[...counts.kinds]
      .sort(([a], [b]) => a.localeCompare(b))
      .map(([kind, count]) => [kind, count.attempted, count.succeeded, count.failed, count.unexpected]),
    ...[...hostile].sort().map(([kind, count]) => [`hostile: ${kind}`, count, '', count, 0]),
    ['', '', '', '', ''],
    ['level', 'agent before', 'after', 'dispatcher before', 'after'],
    ...(Object.keys(before.levels.agent) as (keyof Levels)[]).map((name) => [
      ['rss', 'heap', 'external'].includes(name) ? `${name}, MiB` : name,
      before.levels.agent[name],
      after.levels.agent[name],
      before.levels.dispatcher[name],
      after.levels.dispatcher[name],
    ]),
    ['connections of the agent', 0, connectionsOf(agent.port), '', ''],
    ['processes left', 0, processesOf(directory, mine).length, '', ''],
    ['files of its runs', before.runs.files, after.runs.files, '', ''],
    ['files of its runs, MiB', before.runs.mib, after.runs.mib, '', ''],
  ]);
  say(`highest rss of the agent under load, MiB, by fifths of the time: ${highest.join(', ')}`);
  say(`at rest ${rested} s after the last answer`);

  if (left) wrong(`not at rest: ${left}`);
  for (const who of ['agent', 'dispatcher'] as const)
    for (const what of differing(before.levels[who], after.levels[who], runs)) wrong(`${who}: ${what}`);
  const locks = await dispatcher.locks();
  if (locks.isErr() || locks.value.length > 0) wrong('locks are held');

  over = true;
  const how = await stopped(agent.child);
  if (how !== 0) wrong(`the agent ended with ${how}`);

  // What was kept of jobs goes when its time is up: seen at the next start.
  place.configure('async_ttl = 1\n');
  const next = await place.serve(() => {});
  const kept = () => filesBelow('runs/jobs').entries;
  const until = performance.now() + restPatience;
  while (kept() > 0 && performance.now() < until) await delay(250);
  if (kept() > 0) wrong(`${kept()} jobs are kept for longer than async_ttl`);
  await stopped(next.child);
} catch (thrown) {
  wrong(thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown));
} finally {
  over = true;
  await dispatcher.close();
  await removed();
}
const unexpected = [...counts.kinds.values()].reduce((sum, count) => sum + count.unexpected, 0);
for (const example of counts.examples) say(`  ${example}`);
if (unexpected > 0) wrong(`${unexpected} unexpected ends`);
say(failed ? 'The soak failed.' : 'All as expected; all levels are back.');
process.exitCode = failed ? 1 : 0;
