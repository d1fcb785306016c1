/** Where in the room something lies, and how long it is. */
export type Segment = readonly [position: number, length: number];

export interface OutputRing {
  add(chunk: Uint8Array): void;
  /** Bytes in all. */
  total(): number;
  /** What is kept, in the order in which it came. */
  segments(): readonly Segment[];
}

/**
 * Keeps the first and the last half of `limit` bytes and counts them all. `write` puts bytes into a room of `limit`: from
 * its beginning, and when it is full over its second half, again and again.
 */
export const outputRing = (
  limit: number,
  write: (bytes: Uint8Array, position: number) => void,
): OutputRing => {
  const headSize = Math.floor(limit / 2);
  const ringSize = limit - headSize;
  let total = 0;
  let oldest = headSize;

  const overwrite = (chunk: Uint8Array): void => {
    if (ringSize === 0 || chunk.length === 0) return;
    const skipped = Math.max(0, chunk.length - ringSize);
    let position = headSize + ((oldest - headSize + skipped) % ringSize);
    let rest = chunk.subarray(skipped);
    while (rest.length > 0) {
      const part = rest.subarray(0, limit - position);
      write(part, position);
      position = position + part.length === limit ? headSize : position + part.length;
      rest = rest.subarray(part.length);
    }
    oldest = position;
  };

  return {
    add(chunk) {
      const linear = chunk.subarray(0, Math.max(0, limit - total));
      if (linear.length > 0) write(linear, total);
      overwrite(chunk.subarray(linear.length));
      total += chunk.length;
    },
    total: () => total,
    segments() {
      const all: Segment[] =
        total <= limit
          ? [[0, total]]
          : [
              [0, headSize],
              [oldest, limit - oldest],
              [headSize, oldest - headSize],
            ];
      return all.filter(([, length]) => length > 0);
    },
  };
};
