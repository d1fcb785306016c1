import type { CapturedStream } from '../../ports/process-runner.js';

export interface OutputCapture {
  add(chunk: Uint8Array): void;
  result(): CapturedStream;
}

/**
 * Keeps the first and the last half of `limit` bytes and counts them all. One buffer that grows with what comes, never
 * beyond `limit`; when it is full, its second half becomes a ring.
 */
export const outputCapture = (limit: number): OutputCapture => {
  const headSize = Math.floor(limit / 2);
  let kept = new Uint8Array(0);
  let total = 0;
  let oldest = headSize;

  const reserve = (size: number): void => {
    if (size <= kept.length) return;
    const larger = new Uint8Array(Math.min(limit, Math.max(size, kept.length * 2, 4096)));
    larger.set(kept);
    kept = larger;
  };

  const overwrite = (chunk: Uint8Array): void => {
    const ringSize = limit - headSize;
    if (ringSize === 0) return;
    const skipped = Math.max(0, chunk.length - ringSize);
    let position = headSize + ((oldest - headSize + skipped) % ringSize);
    let rest = chunk.subarray(skipped);
    while (rest.length > 0) {
      const part = rest.subarray(0, limit - position);
      kept.set(part, position);
      position = position + part.length === limit ? headSize : position + part.length;
      rest = rest.subarray(part.length);
    }
    oldest = position;
  };

  return {
    add(chunk) {
      const room = Math.max(0, limit - total);
      const linear = chunk.subarray(0, room);
      reserve(Math.min(limit, total + linear.length));
      kept.set(linear, Math.min(total, limit));
      overwrite(chunk.subarray(linear.length));
      total += chunk.length;
    },
    result() {
      if (total <= limit) return { bytes: kept.slice(0, total), total };
      const bytes = new Uint8Array(limit);
      bytes.set(kept.subarray(0, headSize));
      bytes.set(kept.subarray(oldest, limit), headSize);
      bytes.set(kept.subarray(headSize, oldest), headSize + limit - oldest);
      return { bytes, total };
    },
  };
};
