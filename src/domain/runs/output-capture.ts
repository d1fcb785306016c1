import { outputRing } from './output-ring.js';

/** What is kept of a stream. */
export interface OutputCapture {
  add(chunk: Uint8Array): void;
  /** Head then tail, and how many bytes there were in all. */
  result(): { readonly bytes: Uint8Array; readonly total: number };
}

/** Head and tail of a stream in memory, in one buffer that grows with what comes, never beyond `limit`. */
export const outputCapture = (limit: number): OutputCapture => {
  let kept = new Uint8Array(0);
  const ring = outputRing(limit, (bytes, position) => {
    const needed = position + bytes.length;
    if (needed > kept.length) {
      // Beyond a sixteenth all at once: the system gives memory as it is written to, and copies would hold more than the limit.
      const size = needed > limit / 16 ? limit : Math.max(needed, kept.length * 2, 4096);
      const larger = new Uint8Array(Math.min(limit, size));
      larger.set(kept);
      kept = larger;
    }
    kept.set(bytes, position);
  });
  return {
    add: ring.add,
    result() {
      const segments = ring.segments();
      const bytes = new Uint8Array(segments.reduce((sum, [, length]) => sum + length, 0));
      let at = 0;
      for (const [position, length] of segments) {
        bytes.set(kept.subarray(position, position + length), at);
        at += length;
      }
      return { bytes, total: ring.total() };
    },
  };
};
