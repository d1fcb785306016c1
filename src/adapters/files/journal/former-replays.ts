import { readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { isJsonObject } from '../../../domain/core/decode.js';
import { bestEffort, unless } from '../../shared/system-code.js';
import { readFrames } from './frames.js';
import type { Nonces } from './nonces.js';
import { isWhole, type JournalRecord, keyText } from './records.js';

const digestBytes = 16;
/** An entry that does not say whose it is. */
const shortEntry = digestBytes + 4;
const longEntry = shortEntry + 8;
const name = /^replay-(\d{1,15})\.journal$/;

/** What 0.1 knew of requests: in files of a minute each, of which the newest names those before it that count. */
export interface FormerReplays {
  /** Whether all is there that the newest file and those that it names held, and that boot. */
  readonly whole: boolean;
  readonly boot: string | undefined;
  /** They are never read again. */
  remove(): Promise<void>;
}

interface Header {
  readonly boot: string | undefined;
  readonly older: readonly { readonly sequence: number; readonly frames: number }[];
  readonly spent: readonly JournalRecord[];
  readonly lossAt: number | undefined;
}

/**
 * Takes over what 0.1 has left in a directory. Where something is missing or damaged the rest is taken nevertheless: too much
 * is never wrong. Throws what the file system throws.
 */
export async function readFormerReplays(directory: string, nonces: Nonces): Promise<FormerReplays> {
  const names = (await unless(['ENOENT'], readdir(directory))) ?? [];
  const found = names.map((each) => Number(name.exec(each)?.[1]));
  const sequences = found.filter((each) => !Number.isNaN(each)).sort((one, other) => one - other);
  const last = sequences.at(-1);
  const newest = last === undefined ? undefined : await readFile(directory, last, nonces);
  const header = newest?.header;
  let whole = header !== undefined && newest?.intact === true;
  const others = header?.older ?? sequences.slice(0, -1).map((sequence) => ({ sequence, frames: undefined }));
  for (const { sequence, frames } of others) {
    const older = await readFile(directory, sequence, nonces, frames);
    // defence: record-is-complete
    whole &&= older.intact && older.frames === frames;
  }
  for (const range of header?.spent ?? []) nonces.apply(['spent', ...range]);
  if (header?.lossAt !== undefined) nonces.apply(['loss', header.lossAt]);
  const remove = async () => {
    for (const each of sequences) await bestEffort(unlink(pathOf(directory, each)));
  };
  return { whole, boot: header?.boot, remove };
}

const pathOf = (directory: string, sequence: number): string => join(directory, `replay-${sequence}.journal`);

/** @param limit entries at most: what is behind those that were counted belongs to a write that failed */
async function readFile(
  directory: string,
  sequence: number,
  nonces: Nonces,
  limit = Number.POSITIVE_INFINITY,
): Promise<{ readonly header: Header | undefined; readonly frames: number; readonly intact: boolean }> {
  let header: Header | undefined;
  let [read, frames, strange] = [0, 0, false];
  const each = (payload: Buffer) => {
    read += 1;
    if (read === 1) header = headerOf(payload);
    else if (header === undefined || (payload.length !== shortEntry && payload.length !== longEntry))
      strange = true;
    else {
      const digest = keyText(payload.toString('latin1', 0, digestBytes));
      const owner = keyText(payload.toString('latin1', shortEntry));
      nonces.apply(['nonce', digest, payload.readUInt32BE(digestBytes), owner]);
      frames += 1;
    }
  };
  const done = await unless(['ENOENT'], readFrames(pathOf(directory, sequence), each, limit + 1));
  return { header, frames, intact: done?.intact === true && !strange };
}

function headerOf(payload: Buffer): Header | undefined {
  try {
    const found: unknown = JSON.parse(payload.toString());
    if (!isJsonObject(found) || found['format'] !== 1) return undefined;
    const { boot, older, spent, lossAt } = found;
    if (boot !== undefined && typeof boot !== 'string') return undefined;
    if (!Array.isArray(older) || !older.every(isFile)) return undefined;
    if (!Array.isArray(spent) || !spent.every(Array.isArray)) return undefined;
    if (lossAt !== undefined && typeof lossAt !== 'number') return undefined;
    return { boot, older, spent, lossAt };
  } catch {
    return undefined;
  }
}

const isFile = (value: unknown): value is Header['older'][number] =>
  isJsonObject(value) && isWhole(value['sequence']) && isWhole(value['frames']);
