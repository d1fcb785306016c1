import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { outputCapture } from '../../../../src/domain/runs/output-capture.js';

describe('output capture', () => {
  test('keeps head and tail of whatever comes in whatever pieces, and the true total', () => {
    const chunks = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 30 });
    fc.assert(
      fc.property(chunks, fc.integer({ min: 0, max: 64 }), (pieces, limit) => {
        const capture = outputCapture(limit);
        for (const piece of pieces) capture.add(piece);
        const all = pieces.flatMap((piece) => [...piece]);
        const head = Math.floor(limit / 2);
        const expected =
          all.length <= limit ? all : [...all.slice(0, head), ...all.slice(all.length - (limit - head))];
        const { bytes, total } = capture.result();
        expect([...bytes]).toEqual(expected);
        expect(total).toBe(all.length);
      }),
      { numRuns: 500 },
    );
  });

  test('a million single bytes cost no more memory than the limit allows', () => {
    const capture = outputCapture(64 * 1024);
    const before = process.memoryUsage().arrayBuffers;
    for (let index = 0; index < 1_000_000; index += 1) capture.add(Uint8Array.of(index));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 1024 * 1024);
    expect(capture.result()).toMatchObject({ total: 1_000_000 });
    expect(capture.result().bytes.length).toBe(64 * 1024);
  });

  test('a chunk that is changed afterwards does not change what was kept', () => {
    const capture = outputCapture(10);
    const chunk = Uint8Array.of(1, 2, 3);
    capture.add(chunk);
    chunk.fill(9);
    expect([...capture.result().bytes]).toEqual([1, 2, 3]);
  });
});
