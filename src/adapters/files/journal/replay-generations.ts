import { readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { ReplayWindow, SecondRange, SeenDigest } from '../../../domain/protocol/replay-window.js';
import { digestOf } from '../digest.js';
import { bestEffort, codeOf } from '../system-failure.js';
import { readFrames } from './frames.js';

const DIGEST_BYTES = 16;
/** Entries of former versions end here. */
const SHORT_ENTRY_BYTES = DIGEST_BYTES + 4;
const OWNER_BYTES = 8;
const ENTRY_BYTES = SHORT_ENTRY_BYTES + OWNER_BYTES;
const LAST_SECOND = 0xffff_ffff;
const NAME = /^replay-(\d{1,15})\.journal$/;

/** A file of entries; `latest` is the last second in which one of them is live. Its header is not counted in `entries`. */
export interface Generation {
  readonly sequence: number;
  readonly frames: number;
  readonly latest: number;
}

/** The first frame of a file, as JSON. The file with the highest sequence says which others count. */
export interface GenerationHeader {
  readonly boot: string | undefined;
  readonly older: readonly Generation[];
  readonly spent: readonly SecondRange[];
  /** When earlier entries were found to be unknown, epoch milliseconds; undefined when none are. */
  readonly lossAt: number | undefined;
}

export interface StoredEntry extends SeenDigest {
  readonly second: number;
}

/** What an entry keeps of a keyid, to count those of each. */
export const ownerOf = (keyid: string): string => digestOf(keyid).slice(0, OWNER_BYTES);

const FORMAT = 1;

export const generationPath = (directory: string, sequence: number): string =>
  join(directory, `replay-${sequence}.journal`);

export const encodeHeader = (header: GenerationHeader): Uint8Array =>
  Buffer.from(JSON.stringify({ format: FORMAT, ...header }));

/** A time beyond what is stored, in the year 2106, ends there. */
export function encodeEntry({ digest, owner, second }: StoredEntry): Uint8Array {
  const bytes = Buffer.alloc(owner === undefined ? SHORT_ENTRY_BYTES : ENTRY_BYTES);
  bytes.write(digest, 0, DIGEST_BYTES, 'latin1');
  bytes.writeUInt32BE(Math.min(second, LAST_SECOND), DIGEST_BYTES);
  if (owner !== undefined) bytes.write(owner, SHORT_ENTRY_BYTES, OWNER_BYTES, 'latin1');
  return bytes;
}

function decodeEntry(payload: Buffer): StoredEntry | undefined {
  const isShort = payload.length === SHORT_ENTRY_BYTES;
  if (!isShort && payload.length !== ENTRY_BYTES) return undefined;
  return {
    digest: payload.toString('latin1', 0, DIGEST_BYTES),
    second: payload.readUInt32BE(DIGEST_BYTES),
    owner: isShort ? undefined : payload.toString('latin1', SHORT_ENTRY_BYTES),
  };
}

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && Number(value) >= 0;

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null;

const isGeneration = (value: unknown): value is Generation =>
  isRecord(value) && isCount(value['sequence']) && isCount(value['frames']) && isCount(value['latest']);

const isRange = (value: unknown): value is SecondRange =>
  Array.isArray(value) && value.length === 2 && value.every(Number.isFinite);

function decodeHeader(payload: Buffer): GenerationHeader | undefined {
  try {
    const found: unknown = JSON.parse(payload.toString());
    if (!isRecord(found) || found['format'] !== FORMAT) return undefined;
    const { boot, older, spent, lossAt } = found;
    if (boot !== undefined && typeof boot !== 'string') return undefined;
    if (!Array.isArray(older) || !older.every(isGeneration)) return undefined;
    if (!Array.isArray(spent) || !spent.every(isRange)) return undefined;
    if (lossAt !== undefined && typeof lossAt !== 'number') return undefined;
    return { boot, older, spent, lossAt };
  } catch {
    return undefined;
  }
}

/** The sequences of the files in a directory, ascending. Throws what the file system throws. */
export async function sequencesIn(directory: string): Promise<readonly number[]> {
  const found = (await readdir(directory)).map((name) => Number(NAME.exec(name)?.[1]));
  return found.filter((sequence) => !Number.isNaN(sequence)).sort((a, b) => a - b);
}

/** Removes files that no header names any more; what remains of them is tried again by the next one. */
export async function removeGenerations(directory: string, sequences: readonly number[]): Promise<void> {
  for (const sequence of sequences) await bestEffort(unlink(generationPath(directory, sequence)));
}

export interface Loaded {
  /** Those that were read and hold entries. */
  readonly generations: readonly Generation[];
  /** Of the newest file; undefined when there is none that can be read. */
  readonly newest: GenerationHeader | undefined;
  /** Whether all is there that the newest file and those that it names held. */
  readonly whole: boolean;
}

/**
 * Puts what the files of these sequences hold into the window. Where something is missing or damaged the rest is
 * taken nevertheless: too much is never wrong. Throws what the file system throws, but for a file that is not there.
 */
export async function loadGenerations(
  directory: string,
  sequences: readonly number[],
  seen: ReplayWindow,
): Promise<Loaded> {
  const last = sequences.at(-1);
  if (last === undefined) return { generations: [], newest: undefined, whole: false };
  const newest = await loadGeneration(directory, last, seen);
  const named = newest.header?.older;
  const expected = new Map(named?.map((each) => [each.sequence, each.frames]));
  const generations: Generation[] = [newest.generation];
  let whole = newest.header !== undefined && newest.intact;
  const others = named === undefined ? sequences.slice(0, -1) : named.map(({ sequence }) => sequence);
  for (const sequence of others) {
    const limit = expected.get(sequence);
    const older = await loadGeneration(directory, sequence, seen, limit);
    generations.push(older.generation);
    // defence: record-is-complete
    whole &&= older.intact && older.generation.frames === limit;
  }
  for (const range of newest.header?.spent ?? []) seen.spend(range);
  return { generations: generations.filter(({ frames }) => frames > 0), newest: newest.header, whole };
}

/** `limit` entries at most: what is behind those that were counted belongs to a write that failed. */
async function loadGeneration(
  directory: string,
  sequence: number,
  seen: ReplayWindow,
  limit = Number.POSITIVE_INFINITY,
): Promise<{ generation: Generation; header: GenerationHeader | undefined; intact: boolean }> {
  let header: GenerationHeader | undefined;
  let first = true;
  let frames = 0;
  let latest = 0;
  let strange = false;
  const each = (payload: Buffer) => {
    if (first) {
      first = false;
      header = decodeHeader(payload);
      return;
    }
    const entry = header === undefined ? undefined : decodeEntry(payload);
    if (entry === undefined) {
      strange = true;
      return;
    }
    // defence: replays-survive-restart
    seen.restore(entry, entry.second);
    frames += 1;
    latest = Math.max(latest, entry.second);
  };
  let intact = false;
  try {
    ({ intact } = await readFrames(generationPath(directory, sequence), each, limit + 1));
  } catch (thrown) {
    if (codeOf(thrown) !== 'ENOENT') throw thrown;
  }
  return { generation: { sequence, frames, latest }, header, intact: intact && !strange };
}
