import { cpSync, existsSync, readdirSync, rmSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fileRunJournal } from '../../../../../src/adapters/files/journal/run-journal.js';
import type { RunJournal } from '../../../../../src/ports/run-journal.js';
import { value } from '../../../../contract/result.js';
import { temporaryDirectory } from '../identity/key-store-fixture.js';

/** Written by 0.1: runs of the dispatcher `control`, and two nonces of the key `key`, each in a file of its own. */
const fixture = new URL('../../../../fixtures/journal-0.1', import.meta.url).pathname;
const start = 1_800_000_000_000;

describe('the records that version 0.1 left', () => {
  let home: string;
  let open: RunJournal;
  beforeEach(() => {
    home = temporaryDirectory();
    cpSync(fixture, home, { recursive: true });
    open = reopened();
  });
  afterEach(async () => {
    await open.close();
    rmSync(home, { recursive: true });
  });

  const reopened = () =>
    fileRunJournal({
      directory: join(home, 'runs'),
      former: join(home, 'replay'),
      bootId: () => 'fixture boot',
      monotonic: () => 1_060_000,
      now: () => start + 70_000,
    });
  const restart = async () => {
    await open.close();
    open = reopened();
  };
  const find = async (reqid: string) => value(await open.find({ owner: 'control', reqid }));
  const enter = async (nonce: string, until: number) =>
    value(await open.claim({ nonce: { keyid: 'key', nonce, until } }, start + 70_000)).kind;

  it('are taken over once: runs, results, voids, and which requests were accepted', async () => {
    const run = {
      state: 'done',
      script: 'backup',
      startedAt: start - 1_000_000,
      finishedAt: start - 995_000,
    };
    for (const _ of ['first', 'next']) {
      expect(value(await open.complete())).toBe(true);
      expect(await find('ended')).toEqual({ ...run, result: { exit: 3, stdout: 'out', stderr: 'err' } });
      expect(await find('exact')).toEqual({
        ...run,
        result: {
          exit: 0,
          stdout: '\ufffd',
          stderr: '',
          stdoutBase64: '/w==',
          truncated: { stdout: 9 },
          leftBehind: { count: 1, pids: [7] },
        },
      });
      expect(await find('accepted')).toEqual({ ...run, result: undefined });
      expect(await find('running')).toMatchObject({ state: 'lost', script: 'backup' });
      expect(await find('void')).toEqual({ state: 'void' });
      expect(value(await open.settle({ owner: 'control', reqid: 'void' }))).toEqual({
        kind: 'void',
        completeFor: 60_000,
      });
      expect(await enter('older', start + 300_000)).toBe('replayed');
      expect(await enter('newer', start + 361_000)).toBe('replayed');
      await restart();
    }
    expect(await enter('fresh', start + 361_000)).toBe('begun');
    expect(readdirSync(join(home, 'replay'))).toEqual([]);
  });

  it('are not read again once they were taken over', async () => {
    await open.complete();
    await open.close();
    cpSync(join(fixture, 'replay'), join(home, 'replay'), { recursive: true });
    rmSync(join(home, 'replay', 'replay-3.journal'));
    open = reopened();
    expect(value(await open.complete())).toBe(true);
    expect(existsSync(join(home, 'replay', 'replay-2.journal'))).toBe(true);
  });

  it.each([
    ['missing', (path: string) => rmSync(path)],
    ['cut off', (path: string) => truncateSync(path, 100)],
  ])('an older file that is missing or cut off makes it incomplete: %s', async (_, damage) => {
    damage(join(home, 'replay', 'replay-2.journal'));
    expect(value(await open.complete())).toBe(false);
    expect(await enter('newer', start + 361_000)).toBe('replayed');
  });
});
