import { type FileHandle, open } from 'node:fs/promises';
import { crc32 } from 'node:zlib';

/**
 * A frame is its payload's length, the complement of that, and the payload's CRC-32, four bytes each, big-endian, then
 * the payload. What is cut off at the end of a file is thereby told from what was changed in the middle.
 */
const HEADER_BYTES = 12;
const LENGTH_MASK = 0xffff_ffff;
const LARGEST_PAYLOAD = 1024 * 1024 * 1024;
const CHUNK_BYTES = 64 * 1024;

export function frame(payload: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + payload.byteLength);
  bytes.writeUInt32BE(payload.byteLength, 0);
  bytes.writeUInt32BE((payload.byteLength ^ LENGTH_MASK) >>> 0, 4);
  bytes.writeUInt32BE(crc32(payload), 8);
  bytes.set(payload, HEADER_BYTES);
  return bytes;
}

/** The payload of the frame that begins at `at` and where that frame ends, or what is wrong with it. */
export function unframe(
  bytes: Buffer,
  at = 0,
): { readonly payload: Buffer; readonly end: number } | 'incomplete' | 'damaged' {
  const from = at + HEADER_BYTES;
  if (bytes.length < from) return 'incomplete';
  const length = bytes.readUInt32BE(at);
  if ((length ^ LENGTH_MASK) >>> 0 !== bytes.readUInt32BE(at + 4) || length > LARGEST_PAYLOAD)
    return 'damaged';
  const end = from + length;
  if (bytes.length < end) return 'incomplete';
  const payload = bytes.subarray(from, end);
  return crc32(payload) === bytes.readUInt32BE(at + 8) ? { payload, end } : 'damaged';
}

export interface FramesRead {
  readonly frames: number;
  /** False when it stopped at something that is no frame. An incomplete last one is left out and no damage. */
  readonly intact: boolean;
}

/** Gives each payload of a file to `each`, in slices, `limit` at most. Throws what the file system throws. */
export async function readFrames(
  path: string,
  each: (payload: Buffer) => void,
  limit = Number.POSITIVE_INFINITY,
): Promise<FramesRead> {
  const handle = await open(path, 'r');
  try {
    return await readAll(handle, each, limit);
  } finally {
    await handle.close();
  }
}

async function readAll(
  handle: FileHandle,
  each: (payload: Buffer) => void,
  limit: number,
): Promise<FramesRead> {
  let rest: Buffer = Buffer.alloc(0);
  let frames = 0;
  for (;;) {
    const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(CHUNK_BYTES), 0, CHUNK_BYTES, null);
    if (bytesRead === 0) return { frames, intact: true };
    rest = Buffer.concat([rest, buffer.subarray(0, bytesRead)]);
    for (let at = 0; ; ) {
      if (frames >= limit) return { frames, intact: true };
      const found = unframe(rest, at);
      if (found === 'damaged') return { frames, intact: false };
      if (found === 'incomplete') {
        rest = rest.subarray(at);
        break;
      }
      each(found.payload);
      frames += 1;
      at = found.end;
    }
  }
}
