/** A line of the journal: its kind, and what there is to it. */
export type JournalRecord = readonly unknown[];

/** 1: of 0.1, which kept the nonces in files of their own. */
export const format = 2;

export const encode = (record: JournalRecord): Uint8Array => Buffer.from(JSON.stringify(record));

/** Empty: it is none. */
export function decode(payload: Buffer): JournalRecord {
  try {
    const found: unknown = JSON.parse(payload.toString());
    return Array.isArray(found) ? found : [];
  } catch {
    return [];
  }
}

export const isWhole = (value: unknown): value is number => Number.isSafeInteger(value);

/** Keys are bytes, one character each. */
export const keyText = (key: string): string => Buffer.from(key, 'latin1').toString('base64url');
export const keyOfText = (text: string): string => Buffer.from(text, 'base64url').toString('latin1');
