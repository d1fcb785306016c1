import type { Result } from 'neverthrow';

/** A JSON object, as it travels. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** How a value travels: as a JSON object of a certain form. What is read may have more to it than what must be written. */
export interface Codec<T, Written = T> {
  /** Err: what is wrong with it; the reason quotes nothing secret. */
  read(body: JsonObject): Result<T, string>;
  /** Members that are undefined are left out. */
  write(value: Written): JsonObject;
}

/** The member, if it is a text. */
export const textIn = (body: JsonObject, member: string): string | undefined => {
  const value = body[member];
  return typeof value === 'string' ? value : undefined;
};

/** The member, if it is a whole number from 0 on. */
export const countIn = (body: JsonObject, member: string): number | undefined => {
  const value = body[member];
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
};
