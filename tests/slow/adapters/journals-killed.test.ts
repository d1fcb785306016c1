import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { buildSync } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fileRunJournal } from '../../../src/adapters/files/journal/run-journal.js';
import { value } from '../../contract/result.js';
import { temporaryDirectory } from '../../unit/adapters/files/identity/key-store-fixture.js';

const rounds = 6;

/** Numbers from 0 to 1 that follow from a seed. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

const open = (directory: string) =>
  fileRunJournal({ directory, former: join(directory, 'none'), bootId: () => 'this boot' });

interface Line {
  readonly [name: string]: unknown;
}

describe('killed at any moment', () => {
  let home: string;
  let program: string;
  beforeAll(() => {
    home = temporaryDirectory();
    program = join(home, 'child.mjs');
    buildSync({
      entryPoints: [join(import.meta.dirname, 'kill-child.ts')],
      outfile: program,
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node20',
    });
  });
  afterAll(() => rmSync(home, { recursive: true }));

  /** What a child reported until it was killed, which is when it had reported so many lines. */
  const killedAfter = async (lines: number, ...args: readonly string[]): Promise<readonly Line[]> => {
    const child = spawn(process.execPath, [program, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
    const closed = once(child, 'close');
    const reported: Line[] = [];
    for await (const line of createInterface(child.stdout)) {
      reported.push(JSON.parse(line) as Line);
      if (reported.length === lines) child.kill('SIGKILL');
    }
    expect((await closed)[1]).toBe('SIGKILL');
    return reported;
  };

  it('no nonce is fresh twice', async () => {
    const seed = Date.now() % 2 ** 31;
    const random = randomOf(seed);
    const directory = join(home, 'replay');
    mkdirSync(directory);
    const pairing = open(directory);
    value(await pairing.begin());
    await pairing.close();
    const entered: { keyid: string; nonce: string; until: number; now: number }[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const said = `round ${round}, seed ${seed}`;
      const lines = 2 + Math.floor(random() * 1500);
      const [first, ...fresh] = await killedAfter(lines, 'enter', directory, String(round));
      expect(first, said).toEqual({ complete: true });
      for (const each of fresh) {
        expect(each['kind'], said).toBe('begun');
        const { nonce, until, now } = each;
        entered.push({ keyid: 'key', nonce: String(nonce), until: Number(until), now: Number(now) });
      }
      const successor = open(directory);
      expect(value(await successor.complete()), said).toBe(true);
      for (const { now, ...entry } of entered) {
        const { kind } = value(await successor.claim({ nonce: entry }, now));
        expect(kind, `${entry.nonce}, ${said}`).toBe('replayed');
      }
      await successor.close();
    }
    expect(entered.length).toBeGreaterThan(rounds);
  });

  it('no run begins twice', async () => {
    const seed = Date.now() % 2 ** 31;
    const random = randomOf(seed);
    const directory = join(home, 'runs');
    for (let round = 0; round < rounds; round += 1) {
      const said = `round ${round}, seed ${seed}`;
      const lines = 1 + Math.floor(random() * 1500);
      const reported = await killedAfter(lines, 'run', directory, String(round));
      const purged = Math.max(0, ...reported.map(({ purge }) => Number(purge ?? 0)));
      const successor = open(directory);
      for (const { reqid, round: startedAt, kind } of reported) {
        if (reqid === undefined || Number(startedAt) < purged) continue;
        const key = { owner: 'dispatcher-1', reqid: String(reqid) };
        const claim = value(await successor.claim({ run: { ...key, script: 'backup' } }, 0));
        expect(claim.kind === 'known' ? claim.run.state : claim.kind, `${reqid}, ${said}`).toMatch(
          kind === 'done' ? /^done$/ : /^(lost|done)$/,
        );
        if (kind !== 'done' || claim.kind !== 'known' || claim.run.state !== 'done') continue;
        expect(claim.run.result?.stdout, `${reqid}, ${said}`).toBe(String(reqid).endsWith('-0') ? reqid : '');
      }
      value(await successor.purge(Number.MAX_SAFE_INTEGER));
      await successor.close();
    }
  });

  it('no id is void and run', async () => {
    const seed = Date.now() % 2 ** 31;
    const random = randomOf(seed);
    const directory = join(home, 'settled');
    let complete = 0;
    for (let round = 0; round < rounds; round += 1) {
      const said = `round ${round}, seed ${seed}`;
      const reported = await killedAfter(1 + Math.floor(random() * 1500), 'settle', directory, String(round));
      const successor = open(directory);
      for (const { owner, reqid, kind } of reported) {
        // Told before it was written.
        if (kind === 'known') continue;
        const key = { owner: String(owner), reqid: String(reqid) };
        const about = `${owner} ${reqid}, ${said}`;
        const state = kind === 'void' ? 'void' : 'lost';
        expect(value(await successor.claim({ run: { ...key, script: 'backup' } }, 0)), about).toMatchObject({
          kind: 'known',
          run: { state },
        });
        expect(value(await successor.settle(key)).kind, about).toBe(kind === 'void' ? 'void' : 'known');
      }
      const probe = value(await successor.settle({ owner: 'probe', reqid: 'probe' }));
      if (probe.kind !== 'void') throw new Error(probe.kind);
      // Of one boot: the end of a process takes nothing away.
      expect(probe.completeFor, said).toBeGreaterThanOrEqual(complete);
      complete = probe.completeFor;
      await successor.close();
    }
  });
});
