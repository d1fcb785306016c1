import {
  appendFileSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { frame } from '../../../../../src/adapters/files/journal/frames.js';
import {
  type FileRunJournalOptions,
  fileRunJournal,
} from '../../../../../src/adapters/files/journal/run-journal.js';
import { type RunJournal, voidLife } from '../../../../../src/ports/run-journal.js';
import { failure, value } from '../../../../contract/result.js';
import { temporaryDirectory } from '../identity/key-store-fixture.js';

const key = (reqid: string) => ({ owner: 'dispatcher-1', reqid });

describe('the runs of a journal in files', () => {
  let directory: string;
  let open: RunJournal | undefined;
  beforeEach(() => {
    directory = join(temporaryDirectory(), 'runs');
    open = undefined;
  });
  afterEach(async () => {
    await open?.close();
    rmSync(join(directory, '..'), { recursive: true });
  });

  const restart = async (options: Partial<FileRunJournalOptions> = {}): Promise<RunJournal> => {
    await open?.close();
    open = fileRunJournal({ directory, former: join(directory, '..', 'replay'), ...options });
    return open;
  };
  const begin = async (runs: RunJournal, reqid: string, startedAt = 1000) =>
    value(await runs.claim({ run: { ...key(reqid), script: 'backup' } }, startedAt)).kind;
  const end = async (runs: RunJournal, reqid: string, stdout = `answer of ${reqid}`, at = 2000) =>
    value(await runs.end(key(reqid), at, { exit: 0, stdout, stderr: '' }));
  const find = async (runs: RunJournal, reqid: string) => value(await runs.find(key(reqid)));
  const answer = async (runs: RunJournal, reqid: string) => {
    const run = await find(runs, reqid);
    return run?.state === 'done' ? run.result?.stdout : undefined;
  };
  const journal = () => join(directory, 'runs.journal');
  const answers = () => readdirSync(join(directory, 'answers'));
  const answerFile = () => join(directory, 'answers', answers()[0] ?? 'none');

  it('one owner has 8,192 voids, also across a restart, and others have their own', async () => {
    const settle = (runs: RunJournal, reqid: string, owner = 'dispatcher-1') =>
      runs.settle({ owner, reqid }).map(({ kind }) => kind);
    const runs = await restart();
    const all = await Promise.all(Array.from({ length: 8193 }, (_, index) => settle(runs, `v${index}`)));
    const kinds = all.map(value);
    expect(kinds.filter((kind) => kind === 'void')).toHaveLength(8192);
    expect(kinds.at(-1)).toBe('full');
    const after = await restart();
    expect(value(await settle(after, 'another'))).toBe('full');
    expect(await find(after, 'another')).toBeUndefined();
    expect(value(await settle(after, 'v0'))).toBe('void');
    expect(value(await settle(after, 'another', 'dispatcher-2'))).toBe('void');
    expect(await begin(after, 'another')).toBe('begun');
  });

  it('what ran when the process ended is lost for all that follow, and does not begin again', async () => {
    const runs = await restart();
    await begin(runs, 'r1');
    const after = await restart();
    expect(await find(after, 'r1')).toEqual({ state: 'lost', script: 'backup', startedAt: 1000 });
    expect(await begin(after, 'r1')).toBe('known');
    const last = await restart();
    expect(await find(last, 'r1')).toMatchObject({ state: 'lost' });
    expect((await last.end(key('r1'), 3000, { exit: 0, stdout: '', stderr: '' })).isErr()).toBe(true);
    expect(value(await last.purge(1001))).toBe(1);
    expect(await find(await restart(), 'r1')).toBeUndefined();
  });

  it('what ended is known to the next process with its answer', async () => {
    const runs = await restart();
    await begin(runs, 'r1');
    await end(runs, 'r1');
    const after = await restart();
    expect(await find(after, 'r1')).toMatchObject({ state: 'done', startedAt: 1000, finishedAt: 2000 });
    expect(await answer(after, 'r1')).toBe('answer of r1');
  });

  it('what was purged is forgotten for the next process, too, and its answer has left the disk', async () => {
    const runs = await restart();
    await begin(runs, 'r1');
    await end(runs, 'r1');
    value(await runs.purge(5000));
    expect(answers()).toEqual([]);
    expect(await begin(await restart(), 'r1')).toBe('begun');
  });

  it('only its owner can read it', async () => {
    const runs = await restart();
    await begin(runs, 'r1');
    await end(runs, 'r1');
    const modes = [directory, join(directory, 'answers'), journal(), answerFile()];
    expect(modes.map((path) => statSync(path).mode & 0o777)).toEqual([0o700, 0o700, 0o600, 0o600]);
  });

  it('an answer that is missing, damaged or cut off leaves its run done', async () => {
    const damages = [
      (path: string) => rmSync(path),
      (path: string) => truncateSync(path, 15),
      (path: string) => truncateSync(path, 0),
      (path: string) => writeFileSync(path, readFileSync(path).fill(0x41, 14)),
    ];
    for (const [index, damage] of damages.entries()) {
      const runs = await restart();
      await begin(runs, `r${index}`);
      await end(runs, `r${index}`);
      damage(answerFile());
      expect(await find(runs, `r${index}`)).toMatchObject({ state: 'done', result: undefined });
      const after = await restart();
      expect(await find(after, `r${index}`)).toMatchObject({ state: 'done', result: undefined });
      value(await after.purge(5000));
      expect(answers()).toEqual([]);
    }
  });

  it('files of answers that belong to no run are removed, and nothing else is', async () => {
    const runs = await restart();
    await begin(runs, 'r1');
    await end(runs, 'r1');
    const [name = ''] = answers();
    writeFileSync(join(directory, 'answers', name.replace(/./g, '0')), 'stray');
    writeFileSync(join(directory, 'answers', 'notes.txt'), 'of somebody');
    expect(await answer(await restart(), 'r1')).toBe('answer of r1');
    expect(answers().sort()).toEqual([name, 'notes.txt'].sort());
  });

  it('a last record that was cut off is dropped', async () => {
    for (let cut = 1; cut < 40; cut += 1) {
      const runs = await restart();
      await begin(runs, `before ${cut}`);
      await begin(runs, `cut ${cut}`);
      await runs.close();
      truncateSync(journal(), statSync(journal()).size - cut);
      const after = await restart();
      expect(await begin(after, `before ${cut}`)).toBe('known');
      expect(await begin(after, `cut ${cut}`)).toBe('begun');
    }
  });

  it('of a damaged journal counts what comes before the damage', async () => {
    const runs = await restart();
    await begin(runs, 'r1');
    await runs.close();
    appendFileSync(journal(), Buffer.alloc(4096));
    const after = await restart();
    expect(await begin(after, 'r1')).toBe('known');
    expect(await begin(after, 'r2')).toBe('begun');
    expect(await begin(await restart(), 'r2')).toBe('known');
  });

  it('a journal of a newer version is left alone', async () => {
    await begin(await restart(), 'r1');
    await open?.close();
    const content = frame(Buffer.from('["format",3]'));
    writeFileSync(journal(), content);
    const error = failure(await (await restart()).find(key('r1')));
    expect(error.message).toContain('newer version');
    expect(readFileSync(journal())).toEqual(content);
    rmSync(journal());
    expect(await begin(await restart(), 'r1')).toBe('begun');
  });

  it('a smaller limit drops the oldest answers when it is opened', async () => {
    const runs = await restart();
    for (const [index, reqid] of ['r1', 'r2', 'r3'].entries()) {
      await begin(runs, reqid);
      await end(runs, reqid, 'x'.repeat(100), 5000 - index);
    }
    const after = await restart({ resultBytes: 300 });
    expect(await find(after, 'r3')).toMatchObject({ state: 'done', result: undefined });
    expect(await answer(after, 'r1')).toBe('x'.repeat(100));
    expect(answers()).toHaveLength(2);
  });

  it('the journal does not grow without end, and loses nothing when it is written anew', async () => {
    const runs = await restart({ resultBytes: 1000 });
    const tooLarge = 'x'.repeat(1001);
    let last = 0;
    let shrunk = 0;
    for (let round = 0; round < 120; round += 1) {
      const names = Array.from({ length: 50 }, (_, index) => `r${round}-${index}`);
      const work = names.map(async (reqid) => {
        await begin(runs, reqid, round);
        if (!reqid.endsWith('0')) await end(runs, reqid, reqid.endsWith('-1') ? reqid : tooLarge, round + 1);
      });
      await Promise.all([...work, runs.purge(round - 2)]);
      const { size } = statSync(journal());
      if (size < last) shrunk += 1;
      last = size;
    }
    expect(shrunk).toBeGreaterThan(0);
    expect(last).toBeLessThan(1024 * 1024);
    const after = await restart();
    for (let round = 0; round < 120; round += 1) {
      expect(await find(after, `r${round}-0`), `round ${round}`).toMatchObject({ state: 'lost' });
      expect(await answer(after, `r${round}-1`)).toBe(round < 117 ? undefined : `r${round}-1`);
    }
  });

  describe('voids, and since when the record is complete', () => {
    let now: number;
    let boot: string | undefined;
    beforeEach(() => {
      now = 5_000_000;
      boot = 'one';
    });
    const next = () => restart({ monotonic: () => now, bootId: () => boot });
    const settle = async (runs: RunJournal, reqid: string) => value(await runs.settle(key(reqid)));
    /** Milliseconds that pass before an agent is started anew, what comes between, and how long it is complete then. */
    const completeAfter = async (passed: number, between = () => {}) => {
      await open?.close();
      now += passed;
      between();
      const settled = await settle(await next(), 'asked');
      return settled.kind === 'void' ? settled.completeFor : settled.kind;
    };

    it('a void is none for a run of the next process, for its time', async () => {
      expect(await settle(await next(), 'r1')).toEqual({ kind: 'void', completeFor: 0 });
      now += voidLife - 1;
      const after = await next();
      value(await after.purge(0));
      expect(await begin(after, 'r1')).toBe('known');
      expect(await find(after, 'r1')).toEqual({ state: 'void' });
      now += 2;
      value(await after.purge(0));
      expect(await begin(after, 'r1')).toBe('begun');
    });

    it('stays complete for the next process of the same boot', async () => {
      await begin(await next(), 'r1');
      expect(await completeAfter(700)).toBe(700);
      expect(await completeAfter(700)).toBe(1400);
    });

    it('is complete from now on after a boot, and where no boot can be told', async () => {
      await begin(await next(), 'r1');
      expect(
        await completeAfter(700, () => {
          boot = 'two';
        }),
      ).toBe(0);
      expect(await completeAfter(5)).toBe(5);
      boot = undefined;
      expect(await completeAfter(5)).toBe(0);
      expect(await completeAfter(5)).toBe(0);
    });

    it('a clock of a further boot that is ahead or behind proves nothing', async () => {
      await settle(await next(), 'v1');
      boot = 'two';
      now = 10;
      expect(await completeAfter(0)).toBe(0);
      const after = await next();
      value(await after.purge(0));
      expect(await find(after, 'v1')).toEqual({ state: 'void' });
      now = 5;
      expect(await completeAfter(0)).toBe(0);
    });

    it.each([
      ['was damaged', () => appendFileSync(journal(), Buffer.alloc(4096))],
      ['is gone', () => rmSync(journal())],
      ['is empty', () => truncateSync(journal(), 0)],
      ['was written by an older version', () => writeFileSync(journal(), frame(Buffer.from('["format",1]')))],
      ['holds what is not understood', () => appendFileSync(journal(), frame(Buffer.from('["what"]')))],
    ])('is complete from now on where the journal %s', async (_, damage) => {
      await begin(await next(), 'r1');
      expect(await completeAfter(700, damage)).toBe(0);
      expect(await completeAfter(5)).toBe(5);
    });

    it('a last record that was cut off was never answered, and takes nothing away', async () => {
      await begin(await next(), 'r1');
      const cut = () => truncateSync(journal(), statSync(journal()).size - 3);
      expect(await completeAfter(700, cut)).toBe(700);
    });

    it('what was purged counts for the next process, from the journal and from one that was written anew', async () => {
      const runs = await next();
      await settle(runs, 'asked');
      now += 100;
      await begin(runs, 'r1');
      await end(runs, 'r1');
      now += 50;
      value(await runs.purge(5000));
      expect(await completeAfter(7)).toBe(57);
      expect(await completeAfter(7)).toBe(64);
      const busy = await next();
      for (let round = 0; round < 5000; round += 1) await settle(busy, 'again');
      expect(statSync(journal()).size).toBeLessThan(1024 * 1024);
      expect(await completeAfter(7)).toBe(71);
    });
  });

  it('runs that an older version wrote are known', async () => {
    const records = ['["format",1]', '["run","AAAAAAAAAAAAAAAAAAAAAA","backup",1000,"done",5,-1]'];
    await begin(await restart(), 'r1');
    await open?.close();
    writeFileSync(journal(), Buffer.concat(records.map((record) => frame(Buffer.from(record)))));
    const after = await restart();
    expect(await begin(after, 'r1')).toBe('begun');
    expect(value(await after.purge(1001))).toBe(1);
  });

  it('what is closed says so', async () => {
    const runs = await restart();
    await begin(runs, 'r1');
    await runs.close();
    await runs.close();
    expect(failure(await runs.claim({ run: { ...key('r2'), script: 'backup' } }, 1)).reason).toBe('EBADF');
  });
});
