import { err, ok, type Result } from 'neverthrow';
import { fromBase64url } from './bytes.js';
import { printable } from './names.js';

/** Reads one value: the typed value, or undefined when it is not of the form. */
export interface Field<T> {
  readonly read: (value: unknown) => T | undefined;
  /** What was expected, for the error message. */
  readonly form: string;
  readonly optional?: boolean;
}

type Shape = Readonly<Record<string, Field<unknown>>>;
/** The type of an object that has this shape. */
export type DecodedObject<S extends Shape> = {
  readonly [K in keyof S as S[K] extends { optional: true } ? never : K]: S[K] extends Field<infer T>
    ? T
    : never;
} & {
  readonly [K in keyof S as S[K] extends { optional: true } ? K : never]?: S[K] extends Field<infer T>
    ? T
    : never;
};

/**
 * Reads an object of exactly these members. A missing, malformed or (unless `open`) unknown member is the error text.
 */
export function decodeObject<S extends Shape>(
  value: unknown,
  shape: S,
  options: { readonly open?: boolean } = {},
): Result<DecodedObject<S>, string> {
  if (!isJsonObject(value)) return err('not a JSON object');
  const members = new Map(Object.entries(value));
  if (!options.open)
    for (const name of members.keys())
      if (!Object.hasOwn(shape, name)) return err(`unknown member "${printable(name, 40)}"`);
  const decoded: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(shape)) {
    if (!members.has(name)) {
      if (field.optional) continue;
      return err(`member "${name}" is missing`);
    }
    const read = field.read(members.get(name));
    if (read === undefined) return err(`member "${name}" is not ${field.form}`);
    decoded[name] = read;
  }
  return ok(decoded as DecodedObject<S>);
}

export const optional = <T>(field: Field<T>): Field<T> & { optional: true } => ({ ...field, optional: true });

export const text = (limit: number): Field<string> => ({
  form: `text of at most ${limit} characters`,
  read: (value) => (typeof value === 'string' && value.length <= limit ? value : undefined),
});

export const anyText: Field<string> = {
  form: 'a text',
  read: (value) => (typeof value === 'string' ? value : undefined),
};

export const anything: Field<unknown> = { form: 'anything', read: (value) => value };

export const yes: Field<true> = { form: 'true', read: (value) => (value === true ? value : undefined) };

/** An object of this shape, as a member of another one. */
export const shaped = <S extends Shape>(
  form: string,
  shape: S,
  options?: { readonly open?: boolean },
): Field<DecodedObject<S>> => ({
  form,
  read: (value) => decodeObject(value, shape, options).unwrapOr(undefined),
});

export const matching = (pattern: RegExp, form: string): Field<string> => ({
  form,
  read: (value) => (typeof value === 'string' && pattern.test(value) ? value : undefined),
});

export const oneOf = <const T extends string | number>(...values: readonly T[]): Field<T> => ({
  form: values.map((value) => JSON.stringify(value)).join(' or '),
  read: (value) => values.find((candidate) => candidate === value),
});

export const integer = (min: number, max: number): Field<number> => ({
  form: `a whole number from ${min} to ${max}`,
  read: (value) =>
    Number.isInteger(value) && Number(value) >= min && Number(value) <= max ? Number(value) : undefined,
});

export const list = <T>(item: Field<T>, min: number, max: number): Field<readonly T[]> => ({
  form: `a list of ${min} to ${max} of: ${item.form}`,
  read: (value) => {
    if (!Array.isArray(value) || value.length < min || value.length > max) return undefined;
    const read = value.map((entry) => item.read(entry));
    return read.includes(undefined) ? undefined : (read as T[]);
  },
});

/** Binary data as base64url without padding; of exactly `length` bytes where that is given. */
export const binary = (length?: number): Field<Uint8Array> => ({
  form: length === undefined ? 'base64url' : `base64url of ${length} bytes`,
  read: (value) => {
    const bytes = typeof value === 'string' ? fromBase64url(value) : undefined;
    return bytes && (length === undefined || bytes.length === length) ? bytes : undefined;
  },
});

/** A JSON object, as it travels. */
export type JsonObject = Readonly<Record<string, unknown>>;

export const isJsonObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

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
