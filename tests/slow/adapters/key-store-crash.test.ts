import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { fileKeyStore } from '../../../src/adapters/files/identity/key-store.js';
import type { KeyStore, KeyStoreChange } from '../../../src/ports/key-store.js';
import { value } from '../../contract/result.js';
import {
  compileAdapter,
  pathsIn,
  temporaryDirectory,
} from '../../unit/adapters/files/identity/key-store-fixture.js';

const ROUNDS = Number(process.env['KEY_STORE_CRASH_ROUNDS'] ?? 40);
const ITEMS = ['agent-key', 'agent-certificate', 'trusted-dispatchers'] as const;

const all = (text: string) => ({
  'agent-key': text,
  'agent-certificate': text,
  'trusted-dispatchers': text,
});

/** The next identity of a dispatcher takes the place of the present one: a removal and two writings. */
const PROMOTION = {
  before: { 'dispatcher-key': '1', 'dispatcher-next-key': '2', 'dispatcher-previous-key': null },
  change: { 'dispatcher-key': '2', 'dispatcher-next-key': null, 'dispatcher-previous-key': '1' },
} as const;
const IDENTITY = ['dispatcher-key', 'dispatcher-next-key', 'dispatcher-previous-key'] as const;

/** Writes ever higher numbers into all three items, from the one that is there, and says which one is safely written. */
const WRITER = `
const [module, options, tag] = process.argv.slice(2);
process.umask(0);
const { fileKeyStore } = await import(module);
const store = fileKeyStore(JSON.parse(options));
for (;;) {
  const seen = await store.read(['agent-key']);
  if (seen.isErr()) { console.log('error ' + seen.error.message); break; }
  const next = String(Number((seen.value['agent-key'] ?? '0').split(' ')[0]) + 1) + ' ' + tag;
  const done = await store.replace({ 'agent-key': next, 'agent-certificate': next, 'trusted-dispatchers': next });
  console.log(done.isOk() ? next : 'error ' + done.error.message);
  if (done.isErr()) break;
}
`;

/** Looks at every name that could hold a key, as fast as it can, and tells what it saw when its input ends. */
const WATCHER = `
import { lstatSync, readdirSync } from 'node:fs';
let looks = 0; let going = true;
const kinds = new Set(); const wrong = new Set();
process.stdin.on('end', () => { going = false; }).resume();
console.log('ready');
const look = () => {
  const end = performance.now() + 20;
  while (performance.now() < end) {
    for (const directory of process.argv.slice(2)) {
      let names = [];
      try { names = readdirSync(directory); } catch {}
      for (const name of names) {
        if (!name.includes('agent.key') && !/^\\.?key-journal(\\.tmp|$)/.test(name)) continue;
        try {
          const mode = lstatSync(directory + '/' + name).mode & 0o777;
          looks += 1;
          kinds.add(name.replace(/\\.tmp-.*/, '.tmp'));
          if (mode !== 0o600) wrong.add(name + ' ' + mode.toString(8));
        } catch {}
      }
    }
  }
  if (going) setImmediate(look);
  else console.log(JSON.stringify({ looks, kinds: [...kinds], wrong: [...wrong] }));
};
look();
`;

/** One change, with one of its file-system calls that change something being the process's last. */
const CRASHING_CHANGE = `
const [module, options, change, at] = process.argv.slice(2);
const { fileKeyStore } = await import(module);
const store = fileKeyStore(JSON.parse(options));
const changing = /^(mkdir|open|rename|unlink|rmdir|handle.(writeFile|chmod|sync))$/;
let calls = 0;
globalThis.hook = (name) => {
  if (changing.test(name) && (calls += 1) === Number(at)) process.kill(process.pid, 'SIGKILL');
};
const done = await store.replace(JSON.parse(change));
if (done.isErr()) throw new Error(done.error.message);
`;

/** The same change over and over, each time with the next of its file-system calls failing once, until none is left. */
const FAILING_CHANGES = `
const [module, options, ...changes] = process.argv.slice(2);
const [before, change, after] = changes.map((text) => JSON.parse(text));
const { fileKeyStore } = await import(module);
const { readdirSync } = await import('node:fs');
const store = fileKeyStore(JSON.parse(options));
const { paths, journal } = JSON.parse(options);
const directories = [paths['agent-key'], journal].map((path) => path.slice(0, path.lastIndexOf('/')));
for (let at = 1, reached = true; reached; at += 1) {
  await store.replace(before);
  let calls = 0; let failed = 'none';
  globalThis.hook = (name) => {
    if ((calls += 1) !== at) return;
    failed = name;
    throw Object.assign(new Error(name), { code: 'EIO' });
  };
  const done = await store.replace(change);
  globalThis.hook = undefined;
  reached = calls >= at;
  const seen = await store.read(Object.keys(change));
  await store.replace(after);
  const names = directories.flatMap((directory) => readdirSync(directory));
  console.log(JSON.stringify({ at, failed, ok: done.isOk(), seen: Object.values(seen.value).map((text) => text ?? null), names }));
}
`;

describe('key store on disk, when processes die', () => {
  const tools = temporaryDirectory();
  let modules: { plain: string; hooked: string };
  let home: string;
  let store: KeyStore;
  let options: ReturnType<typeof pathsIn>;
  const running = new Set<ChildProcess>();

  beforeAll(() => {
    modules = compileAdapter(tools);
    for (const [name, text] of Object.entries({
      writer: WRITER,
      watcher: WATCHER,
      crashing: CRASHING_CHANGE,
      failing: FAILING_CHANGES,
    })) {
      writeFileSync(join(tools, `${name}.mjs`), text);
    }
  });
  afterAll(() => rmSync(tools, { recursive: true }));
  beforeEach(() => {
    home = temporaryDirectory();
    options = pathsIn(home);
    store = fileKeyStore(options);
  });
  afterEach(async () => {
    await Promise.all([...running].map(kill));
    rmSync(home, { recursive: true });
  });

  const start = (script: string, args: readonly string[]) => {
    const child = spawn(process.execPath, [join(tools, script), ...args], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    running.add(child);
    return child;
  };
  const kill = async (child: ChildProcess) => {
    running.delete(child);
    if (child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, 'close');
    child.kill('SIGKILL');
    await closed;
  };
  /** A writer that has written once, and everything that it has reported. */
  const startWriter = async (tag: string) => {
    const child = start('writer.mjs', [modules.plain, JSON.stringify(options), tag]);
    const reported: string[] = [];
    const lines = createInterface({ input: child.stdout }).on('line', (line) => reported.push(line));
    await once(lines, 'line');
    return { child, reported };
  };
  const readNumbers = async () => {
    const seen = value(await store.read(ITEMS));
    expect(new Set(ITEMS.map((item) => seen[item])).size, JSON.stringify(seen)).toBe(1);
    return Number((seen['agent-key'] ?? '0').split(' ')[0]);
  };
  const numberOf = (line: string | undefined) => {
    expect(line).toMatch(/^\d+ /);
    return Number(line?.split(' ')[0]);
  };
  const expectNothingLeft = () => {
    expect(readdirSync(join(home, 'config')).sort()).toEqual(['agent.crt', 'agent.key']);
    expect(readdirSync(join(home, 'state'))).toEqual(['dispatchers']);
  };

  it(
    `killed at any moment (${ROUNDS} times), the old or the new state is there, no lock blocks, keys were never open to others`,
    async () => {
      for (const name of ['config', 'state']) mkdirSync(join(home, name), { mode: 0o700 });
      const watcher = start('watcher.mjs', [join(home, 'config'), join(home, 'state')]);
      const watched: string[] = [];
      const lines = createInterface({ input: watcher.stdout }).on('line', (line) => watched.push(line));
      await once(lines, 'line');

      for (let round = 0; round < ROUNDS; round += 1) {
        const { child, reported } = await startWriter(`round-${round}`);
        await delay(Math.random() * 40);
        await kill(child);
        const acknowledged = numberOf(reported.at(-1));
        const found = await readNumbers();
        expect(found).toBeGreaterThanOrEqual(acknowledged);
        expect(found).toBeLessThanOrEqual(acknowledged + 1);
        const begun = performance.now();
        expect((await store.replace({ 'revoked-serials': String(round) })).isOk()).toBe(true);
        expect(performance.now() - begun).toBeLessThan(8000);
      }

      const closed = once(watcher, 'close');
      watcher.stdin.end();
      await closed;
      running.delete(watcher);
      const report = JSON.parse(watched.at(-1) ?? '');
      expect(report.wrong).toEqual([]);
      expect(report.looks).toBeGreaterThan(100);
      expect(report.kinds.sort()).toEqual(
        ['.agent.key.tmp', '.key-journal.tmp', 'agent.key', 'key-journal'].sort(),
      );
      await store.replace({ 'agent-key': 'K', 'agent-certificate': 'C', 'trusted-dispatchers': 'T' });
      rmSync(join(home, 'config', 'revoked-serials'));
      expectNothingLeft();
    },
    30_000 + ROUNDS * 2000,
  );

  it('with several writers in processes of their own and one of them killed, nothing is mixed and the others go on', async () => {
    for (let round = 0; round < 4; round += 1) {
      const writers = await Promise.all(['a', 'b', 'c'].map((tag) => startWriter(`${tag}${round}`)));
      const [victim, ...others] = writers;
      for (let look = 0; look < 20; look += 1) await readNumbers();
      if (victim !== undefined) await kill(victim.child);
      for (const { child, reported } of others) {
        const before = reported.length;
        while (reported.length < before + 2) await once(child.stdout, 'data');
      }
      await readNumbers();
      await Promise.all(others.map(({ child }) => kill(child)));
      await readNumbers();
      for (const { reported } of writers) {
        expect(reported.filter((line) => !/^\d+ /.test(line))).toEqual([]);
      }
    }
    await store.replace({ 'agent-key': 'K', 'agent-certificate': 'C', 'trusted-dispatchers': 'T' });
    expectNothingLeft();
  }, 60_000);

  /** Whether the change came to its end. */
  const crashingChange = async (at: number, change: KeyStoreChange = all('2')) => {
    const child = start('crashing.mjs', [
      modules.hooked,
      JSON.stringify(options),
      JSON.stringify(change),
      String(at),
    ]);
    const [code, signal] = await once(child, 'close');
    running.delete(child);
    expect([code, signal]).toEqual(signal === null ? [0, null] : [null, 'SIGKILL']);
    return signal === null;
  };

  it('killed before any single file-system call, the change happened or did not, and nothing is left behind', async () => {
    const seen = new Set<number>();
    const one = all('1');
    await store.replace(one);
    let points = 0;
    for (let ended = false; !ended; points += 1) {
      ended = await crashingChange(points + 1);
      seen.add(await readNumbers());
      await store.replace(one);
      expectNothingLeft();
    }
    expect(seen).toEqual(new Set([1, 2]));
    expect(points).toBeGreaterThan(20);
  }, 120_000);

  it('in a fresh installation, killed before any single file-system call, all is there or nothing', async () => {
    const seen = new Set<number>();
    for (let at = 1, ended = false; !ended; at += 1) {
      ended = await crashingChange(at);
      seen.add(await readNumbers());
      for (const name of ['config', 'state']) rmSync(join(home, name), { recursive: true, force: true });
    }
    expect(seen).toEqual(new Set([0, 2]));
  }, 120_000);

  it.each([
    ['writing', PROMOTION.change, ['1,2,', '2,,1'], 20],
    ['nothing else', { 'dispatcher-next-key': null }, ['1,2,', '1,,'], 3],
    ['other removals', { 'dispatcher-next-key': null, 'dispatcher-key': null }, ['1,2,', ',,'], 10],
  ] as const)(
    'a removal together with %s, killed before any single file-system call, happened or did not',
    async (_what, change, states, atLeast) => {
      await store.replace(PROMOTION.before);
      const seen = new Set<string>();
      let points = 0;
      for (let ended = false; !ended; points += 1) {
        ended = await crashingChange(points + 1, change);
        const found = value(await store.read(IDENTITY));
        seen.add(IDENTITY.map((item) => found[item]).join());
        await store.replace(PROMOTION.before);
        expect(readdirSync(join(home, 'config')).sort()).toEqual(['dispatcher.key', 'next.key']);
        expect(readdirSync(join(home, 'state'))).toEqual([]);
      }
      expect([...seen].sort()).toEqual([...states].sort());
      expect(points).toBeGreaterThan(atLeast);
    },
    120_000,
  );

  /** Which outcomes there were, each of them true; `after` is what clears up. */
  const failEachCall = async (before: KeyStoreChange, change: KeyStoreChange, after: KeyStoreChange) => {
    const changes = [before, change, after].map((each) => JSON.stringify(each));
    const child = start('failing.mjs', [modules.hooked, JSON.stringify(options), ...changes]);
    const outcomes = new Set<boolean>();
    let rounds = 0;
    for await (const line of createInterface({ input: child.stdout })) {
      const { ok, seen, names } = JSON.parse(line);
      expect(seen, line).toEqual(Object.values(ok ? change : before));
      const left = names.filter(
        (name: string) => !/^(agent|dispatcher|previous)\.(crt|key)$|^dispatchers$/.test(name),
      );
      expect(
        left.filter((name: string) => !/^\..*\.tmp-/.test(name)),
        line,
      ).toEqual([]);
      outcomes.add(ok);
      rounds += 1;
    }
    return { outcomes, rounds };
  };

  it('when any single file-system call fails, Err means that nothing changed and Ok that everything did', async () => {
    const { outcomes, rounds } = await failEachCall(all('1'), all('2'), all('3'));
    expect(outcomes).toEqual(new Set([true, false]));
    expect(rounds).toBeGreaterThan(60);
    // What could not be removed belonged to a process that lived; now it is gone, and the next change sweeps.
    await store.replace({ 'agent-key': 'K', 'agent-certificate': 'C', 'trusted-dispatchers': 'T' });
    expectNothingLeft();
  }, 120_000);

  it('with a removal, when any single file-system call fails, Err means that nothing changed and Ok that everything did', async () => {
    const { outcomes, rounds } = await failEachCall(PROMOTION.before, PROMOTION.change, PROMOTION.change);
    expect(outcomes).toEqual(new Set([true, false]));
    expect(rounds).toBeGreaterThan(40);
    await store.replace(PROMOTION.change);
    expect(readdirSync(join(home, 'config')).sort()).toEqual(['dispatcher.key', 'previous.key']);
    expect(readdirSync(join(home, 'state'))).toEqual([]);
  }, 120_000);
});
