import { closeSync, existsSync, fstatSync, readdirSync, readlinkSync, readSync, writeSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { inputFile } from '../../../../src/adapters/child-process/input-file.js';
import { pipeSource } from '../../../../src/adapters/child-process/pipes.js';
import { eventually } from './scripts.js';

const memory = existsSync('/dev/shm') ? '' : ' (skipped: no /dev/shm on this system)';
const descriptors = (): number => readdirSync('/proc/self/fd').length;
const close = (taken: readonly { readEnd: number; writeEnd: number }[] | undefined): void => {
  for (const { readEnd, writeEnd } of taken ?? []) {
    closeSync(readEnd);
    closeSync(writeEnd);
  }
};

describe.skipIf(memory !== '')(`pipes${memory}`, () => {
  test('what is written into one comes out of that one', async () => {
    const taken = (await pipeSource().take(3)) ?? [];
    expect(taken).toHaveLength(3);
    taken.forEach(({ writeEnd }, index) => {
      writeSync(writeEnd, `pipe ${index}`);
    });
    taken.forEach(({ readEnd }, index) => {
      const buffer = Buffer.alloc(100);
      expect(buffer.subarray(0, readSync(readEnd, buffer)).toString()).toBe(`pipe ${index}`);
    });
    close(taken);
  });

  test('one has no name, and ends when its write end is closed', async () => {
    const [pipe] = (await pipeSource().take(1)) ?? [];
    if (pipe === undefined) throw new Error('no pipe');
    expect(fstatSync(pipe.readEnd).isFIFO()).toBe(true);
    expect(readlinkSync(`/proc/self/fd/${pipe.readEnd}`)).toMatch(/^\/dev\/shm\/.* \(deleted\)$/);
    closeSync(pipe.writeEnd);
    expect(readSync(pipe.readEnd, Buffer.alloc(1))).toBe(0);
    closeSync(pipe.readEnd);
  });

  test('no other account can open one, not even by /proc of a process that has it', async () => {
    const taken = (await pipeSource().take(2)) ?? [];
    expect(taken.map(({ readEnd }) => fstatSync(readEnd).mode & 0o777)).toEqual([0o600, 0o600]);
    close(taken);
  });

  test('hundreds at a time are served, and what was in reserve is closed again', async () => {
    const source = pipeSource();
    const before = descriptors();
    for (let round = 0; round < 3; round += 1) {
      const all = await Promise.all(Array.from({ length: 200 }, () => source.take(2)));
      expect(all.every((taken) => taken?.length === 2)).toBe(true);
      expect(
        new Set(all.flatMap((taken) => (taken ?? []).flatMap(({ readEnd, writeEnd }) => [readEnd, writeEnd])))
          .size,
      ).toBe(800);
      for (const taken of all) close(taken);
    }
    for (let round = 0; round < 50; round += 1) close(await source.take(2));
    await eventually(() => descriptors() <= before);
  });
});

describe.skipIf(memory !== '')(`input without a writer${memory}`, () => {
  test('is all the bytes, then end-of-file, on a file without a name', () => {
    const bytes = Uint8Array.from({ length: 200_000 }, (_, index) => index % 251);
    const before = descriptors();
    const descriptor = inputFile(bytes) ?? -1;
    const buffer = Buffer.alloc(300_000);
    expect(readSync(descriptor, buffer)).toBe(200_000);
    expect(buffer.subarray(0, 200_000).equals(bytes)).toBe(true);
    expect(readSync(descriptor, buffer)).toBe(0);
    expect(readlinkSync(`/proc/self/fd/${descriptor}`)).toMatch(/^\/dev\/shm\/.* \(deleted\)$/);
    expect(fstatSync(descriptor).mode & 0o777).toBe(0o600);
    closeSync(descriptor);
    expect(descriptors()).toBe(before);
  });
});
