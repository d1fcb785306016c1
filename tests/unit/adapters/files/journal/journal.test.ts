import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readFrames } from '../../../../../src/adapters/files/journal/frames.js';
import { createJournal } from '../../../../../src/adapters/files/journal/journal.js';
import { failure, value } from '../../../../contract/result.js';
import { temporaryDirectory } from '../identity/key-store-fixture.js';

const bytes = (text: string) => Buffer.from(text);

describe('journal', () => {
  let directory: string;
  let path: string;
  beforeEach(() => {
    directory = temporaryDirectory();
    path = join(directory, 'journal');
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  const create = async (...first: string[]) => value(await createJournal(path, first.map(bytes)));
  const contents = async () => {
    const found: string[] = [];
    const read = await readFrames(path, (payload) => found.push(payload.toString()));
    expect(read).toEqual({ frames: found.length, intact: true });
    return found;
  };

  it('keeps what is appended in its order, also many at once and what is large', async () => {
    const journal = await create('first');
    const texts = Array.from({ length: 300 }, (_, index) => `${index} `.repeat(index));
    await Promise.all(texts.map((text) => journal.append(bytes(text))));
    expect(await contents()).toEqual(['first', ...texts]);
    expect(journal.frames()).toBe(301);
    await journal.close();
  });

  it('written anew it holds what was appended meanwhile, and goes on', async () => {
    const journal = await create('old');
    const appended: ReturnType<typeof journal.append>[] = [];
    function* payloads() {
      for (let slice = 0; slice < 5; slice += 1) {
        appended.push(journal.append(bytes(`meanwhile ${slice}`)));
        yield Buffer.alloc(70_000, 'x');
      }
    }
    const rewritten = await journal.rewrite(payloads());
    expect(rewritten.isOk()).toBe(true);
    await Promise.all(appended);
    await journal.append(bytes('after'));
    const found = (await contents()).filter((text) => !text.startsWith('x'));
    expect(found.sort()).toEqual(['after', ...[0, 1, 2, 3, 4].map((slice) => `meanwhile ${slice}`)].sort());
    expect(readdirSync(directory)).toEqual(['journal']);
    await journal.close();
  });

  it('when it cannot be written anew the old one goes on', async () => {
    const journal = await create('old');
    function* payloads() {
      yield bytes('new');
      throw Object.assign(new Error('full'), { code: 'ENOSPC' });
    }
    expect(failure(await journal.rewrite(payloads())).reason).toBe('ENOSPC');
    await journal.append(bytes('after'));
    expect(await contents()).toEqual(['old', 'after']);
    expect(readdirSync(directory)).toEqual(['journal']);
    await journal.close();
  });
});
