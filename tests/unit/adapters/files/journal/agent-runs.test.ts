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
import {
  type FileAgentRunsOptions,
  fileAgentRuns,
} from '../../../../../src/adapters/files/journal/agent-runs.js';
import { frame } from '../../../../../src/adapters/files/journal/frames.js';
import type { AgentRuns } from '../../../../../src/ports/agent-runs.js';
import { failure, value } from '../../../../contract/result.js';
import { temporaryDirectory } from '../identity/key-store-fixture.js';

const key = (reqid: string) => ({ owner: 'dispatcher-1', reqid });

describe('agent runs in files', () => {
  let directory: string;
  let open: AgentRuns | undefined;
  beforeEach(() => {
    directory = join(temporaryDirectory(), 'runs');
    open = undefined;
  });
  afterEach(async () => {
    await open?.close();
    rmSync(join(directory, '..'), { recursive: true });
  });

  const restart = async (options: Partial<FileAgentRunsOptions> = {}): Promise<AgentRuns> => {
    await open?.close();
    open = fileAgentRuns({ directory, ...options });
    return open;
  };
  const begin = async (runs: AgentRuns, reqid: string, startedAt = 1000) =>
    value(await runs.begin(key(reqid), 'backup', startedAt)).kind;
  const end = async (runs: AgentRuns, reqid: string, answer = `answer of ${reqid}`, at = 2000) =>
    value(await runs.end(key(reqid), at, Buffer.from(answer)));
  const find = async (runs: AgentRuns, reqid: string) => value(await runs.find(key(reqid)));
  const answer = async (runs: AgentRuns, reqid: string) => {
    const run = await find(runs, reqid);
    return run?.state === 'done' && run.answer !== undefined ? Buffer.from(run.answer).toString() : undefined;
  };
  const journal = () => join(directory, 'runs.journal');
  const answers = () => readdirSync(join(directory, 'answers'));
  const answerFile = () => join(directory, 'answers', answers()[0] ?? 'none');

  it('what ran when the process ended is lost for all that follow, and does not begin again', async () => {
    const runs = await restart();
    await begin(runs, 'r1');
    const after = await restart();
    expect(await find(after, 'r1')).toEqual({ state: 'lost', script: 'backup', startedAt: 1000 });
    expect(await begin(after, 'r1')).toBe('known');
    const last = await restart();
    expect(await find(last, 'r1')).toMatchObject({ state: 'lost' });
    expect((await last.end(key('r1'), 3000, Buffer.from('x'))).isErr()).toBe(true);
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
      expect(await find(runs, `r${index}`)).toMatchObject({ state: 'done', answer: undefined });
      const after = await restart();
      expect(await find(after, `r${index}`)).toMatchObject({ state: 'done', answer: undefined });
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
    const content = frame(Buffer.from('["format",2]'));
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
    const after = await restart({ answerBytes: 250 });
    expect(await find(after, 'r3')).toMatchObject({ state: 'done', answer: undefined });
    expect(await answer(after, 'r1')).toBe('x'.repeat(100));
    expect(answers()).toHaveLength(2);
  });

  it('the journal does not grow without end, and loses nothing when it is written anew', async () => {
    const runs = await restart({ answerBytes: 1000 });
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

  it('what is closed says so', async () => {
    const runs = await restart();
    await begin(runs, 'r1');
    await runs.close();
    await runs.close();
    expect(failure(await runs.begin(key('r2'), 'backup', 1)).reason).toBe('EBADF');
  });
});
