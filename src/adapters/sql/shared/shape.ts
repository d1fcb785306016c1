import { isJsonObject } from '../../../domain/core/decode.js';

/** Says whether a value that came out of the file has the type that it should have. */
export type Guard<T> = (value: unknown) => value is T;

type OptionalKeys<T> = { [K in keyof T]-?: object extends Pick<T, K> ? K : never }[keyof T];

export const text: Guard<string> = (value) => typeof value === 'string';

/** Whole numbers that JavaScript holds exactly: ports, counts, epoch milliseconds. */
export const integer: Guard<number> = (value): value is number => Number.isSafeInteger(value);

/** Any number that JSON holds. */
export const quantity: Guard<number> = (value) => typeof value === 'number';

export const flag: Guard<boolean> = (value) => typeof value === 'boolean';

export const oneOf =
  <const T extends string>(...allowed: readonly T[]): Guard<T> =>
  (value): value is T =>
    allowed.some((candidate) => candidate === value);

export const orNull =
  <T>(guard: Guard<T>): Guard<T | null> =>
  (value): value is T | null =>
    value === null || guard(value);

export const either =
  <A, B>(first: Guard<A>, second: Guard<B>): Guard<A | B> =>
  (value): value is A | B =>
    first(value) || second(value);

export const listOf =
  <T>(guard: Guard<T>): Guard<readonly T[]> =>
  (value): value is readonly T[] =>
    Array.isArray(value) && value.every((item) => guard(item));

export const dictionaryOf =
  <T>(guard: Guard<T>): Guard<Readonly<Record<string, T>>> =>
  (value): value is Readonly<Record<string, T>> =>
    isJsonObject(value) && Object.values(value).every((item) => guard(item));

const holds = (value: Readonly<Record<string, unknown>>, guards: object, absentIsFine: boolean): boolean =>
  Object.entries(guards).every(([key, guard]) =>
    Object.hasOwn(value, key) ? (guard as Guard<unknown>)(value[key]) : absentIsFine,
  );

/** An object with these members; members that are not named are ignored. */
export const shape =
  <T extends object>(
    required: { readonly [K in Exclude<keyof T, OptionalKeys<T>>]: Guard<T[K]> },
    optional: { readonly [K in OptionalKeys<T>]: Guard<Exclude<T[K], undefined>> },
  ): Guard<T> =>
  (value): value is T =>
    isJsonObject(value) && holds(value, required, false) && holds(value, optional, true);
