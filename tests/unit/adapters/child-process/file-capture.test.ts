import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { fileCapture } from '../../../../src/adapters/child-process/jobs/file-capture.js';
import { outputCapture } from '../../../../src/domain/runs/output-capture.js';

const directory = mkdtempSync(join(tmpdir(), 'file-capture-'));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const path = join(directory, 'output');

describe('output in a file', () => {
  test('keeps what output in memory keeps, whatever comes in whatever pieces', () => {
    const chunks = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 30 });
    fc.assert(
      fc.property(chunks, fc.integer({ min: 0, max: 64 }), (pieces, limit) => {
        const descriptor = openSync(path, 'w+');
        const [inFile, inMemory] = [fileCapture(descriptor, limit), outputCapture(limit)];
        for (const piece of pieces) {
          inFile.add(piece);
          inMemory.add(piece);
        }
        closeSync(descriptor);
        const room = readFileSync(path);
        const { total, segments } = inFile.kept();
        const bytes = segments.flatMap(([position, length]) => [
          ...room.subarray(position, position + length),
        ]);
        expect({ bytes, total }).toEqual({
          bytes: [...inMemory.result().bytes],
          total: inMemory.result().total,
        });
        expect(room.length).toBeLessThanOrEqual(limit);
        expect(inFile.failed()).toBeUndefined();
      }),
      { numRuns: 300 },
    );
  });

  test('of what cannot be written any more the certain part is kept, and all is counted', () => {
    const chunk = new Uint8Array(10).fill(1);
    for (const before of [0, 3, 10, 14]) {
      const descriptor = openSync(path, 'w+');
      const capture = fileCapture(descriptor, 100);
      for (let index = 0; index < before; index += 1) capture.add(chunk);
      closeSync(descriptor);
      capture.add(chunk);
      capture.add(chunk);
      expect(capture.failed()).toBe('EBADF');
      expect(capture.kept()).toEqual({
        total: (before + 2) * 10,
        segments: [[0, before < 10 ? before * 10 : 50]],
      });
    }
  });
});
