import { closest } from './closest.js';
import { printable } from './names.js';

/** What is wrong with what a caller gave. */
export interface Wrong {
  /** The member, or the argument: `hosts`, `caller.token`. */
  readonly field: string;
  readonly reason: string;
}

/** The line for a person. */
export const wrongText = ({ field, reason }: Wrong): string => `${field}: ${reason}`;

type Read = { readonly value: unknown; readonly wrong?: never } | { readonly wrong: Wrong };

export interface Reading {
  /** For the message: `expected …`. */
  readonly form: string;
  readonly read: (value: unknown, field: string) => Read;
  readonly optional?: boolean;
  /** Of a record. */
  readonly members?: Readonly<Record<string, Reading>>;
}

/** What a value has to be, to be of type T. */
export interface Kind<T> extends Reading {
  readonly optional?: false;
  /** Never there: ties the kind to exactly this type. */
  readonly type?: (value: T) => T;
}

/** The same of what may be left out; undefined is as left out. */
export interface Optional<T> extends Reading {
  readonly optional: true;
  readonly type?: (value: T) => T;
}

/** Every member of T with its kind: one that is added to the type and not to the table does not compile. */
export type Table<T> = {
  readonly [K in keyof T]-?: object extends Pick<T, K> ? Optional<Exclude<T[K], undefined>> : Kind<T[K]>;
};

/** An argument of a call, with its name for the message. */
export interface Argument<T> {
  readonly name: string;
  readonly kind: undefined extends T ? Optional<Exclude<T, undefined>> : Kind<T>;
}

// biome-ignore lint/suspicious/noExplicitAny: any function
type Callable = (...given: any[]) => unknown;

/** The arguments of every method of T that has some. */
export type Calls<T> = {
  readonly [K in keyof T as T[K] extends Callable
    ? Parameters<T[K]>['length'] extends 0
      ? never
      : K
    : never]: T[K] extends Callable ? ArgumentsOf<Parameters<T[K]>> : never;
};

type ArgumentsOf<P extends readonly unknown[]> = { readonly [I in keyof P]-?: Argument<P[I]> };

const kind = <T>(form: string, fits: (value: unknown) => boolean): Kind<T> => ({
  form,
  read: (value, field) => (fits(value) ? { value } : { wrong: { field, reason: `expected ${form}` } }),
});

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;

/** Not a list, a Map, Headers or a promise: their members are not those that are meant, and would be left out in silence. */
export const hasMembers = (value: unknown): value is object =>
  isObject(value) && !(Symbol.iterator in value) && typeof Reflect.get(value, 'then') !== 'function';

export const maybe = <T>(given: Kind<T>): Optional<T> => ({ ...given, optional: true });

export const text = kind<string>('text', (value) => typeof value === 'string');
export const filled = kind<string>(
  'text that is not empty',
  (value) => typeof value === 'string' && value !== '',
);
export const number = kind<number>('a number', Number.isFinite);
export const flag = kind<boolean>('true or false', (value) => typeof value === 'boolean');
export const port = (least: 0 | 1): Kind<number> =>
  kind(
    `a port, ${least} to 65535`,
    (value) => Number.isInteger(value) && Number(value) >= least && Number(value) <= 65_535,
  );
const isSignal = (value: unknown): value is AbortSignal =>
  isObject(value) &&
  typeof Reflect.get(value, 'aborted') === 'boolean' &&
  typeof Reflect.get(value, 'addEventListener') === 'function';

/** One that Node takes: of another realm, or of a polyfill, it is followed by one of its own. */
function ownSignal(given: AbortSignal): AbortSignal {
  const isOwn: boolean = given instanceof AbortSignal;
  if (isOwn) return given;
  const own = new AbortController();
  const abort = () => own.abort(given.reason);
  if (given.aborted) abort();
  else given.addEventListener('abort', abort, { once: true });
  return own.signal;
}

/** Of any realm. */
export const signal: Kind<AbortSignal> = {
  form: 'an AbortSignal',
  read: (value, field) =>
    isSignal(value) ? { value: ownSignal(value) } : { wrong: { field, reason: 'expected an AbortSignal' } },
};
export const callback = <F extends Callable>(): Kind<F> =>
  kind('a function', (value) => typeof value === 'function');
export const oneOf = <const T>(...values: readonly T[]): Kind<T> =>
  kind(values.map((value) => JSON.stringify(value)).join(' or '), (value) => values.includes(value as T));
/** An object that has these methods, and whatever else. */
export const having = <T extends object>(...methods: readonly (keyof T & string)[]): Kind<T> =>
  kind(
    methods.length === 0 ? 'an object' : `an object with ${methods.join(', ')}`,
    (value) => isObject(value) && methods.every((name) => typeof Reflect.get(value, name) === 'function'),
  );

/** What fits one of these. */
export const either = <A, B>(first: Kind<A>, second: Kind<B>): Kind<A | B> => ({
  form: `${first.form} or ${second.form}`,
  read: (value, field) => {
    const read = first.read(value, field);
    if (!read.wrong) return read;
    const other = second.read(value, field);
    // What is wrong inside of the second says more than that it is neither.
    if (other.wrong?.field !== field) return other;
    return { wrong: { field, reason: `expected ${first.form} or ${second.form}` } };
  },
});

export const listOf = <T>(item: Kind<T>): Kind<readonly T[]> => ({
  form: `a list, each ${item.form}`,
  read(value, field) {
    if (!Array.isArray(value)) return { wrong: { field, reason: `expected a list, each ${item.form}` } };
    const items: unknown[] = [];
    for (const [index, each] of value.entries()) {
      const read = item.read(each, `${field}[${index}]`);
      if (read.wrong) return read;
      items.push(read.value);
    }
    return { value: items };
  },
});

export const dictionaryOf = <T>(item: Kind<T>): Kind<Readonly<Record<string, T>>> => ({
  form: `an object, each member ${item.form}`,
  read(value, field) {
    if (!hasMembers(value)) return { wrong: { field, reason: 'expected an object' } };
    const members: [string, unknown][] = [];
    for (const [name, each] of Object.entries(value)) {
      const read = item.read(each, `${field}.${printable(name, 40)}`);
      if (read.wrong) return read;
      members.push([name, read.value]);
    }
    return { value: Object.fromEntries(members) };
  },
});

/**
 * An object of these members and no others. What it gives is a copy, without members that are undefined.
 * @param whole what is to hold of the members together
 */
export const record = <T extends object>(
  table: Table<T>,
  whole: (value: Readonly<Record<string, unknown>>) => Wrong | undefined = () => undefined,
): Kind<T> => {
  const members = Object.entries(table) as [string, Reading][];
  return {
    form: 'an object',
    members: Object.fromEntries(members),
    read(value, at) {
      if (!hasMembers(value)) return { wrong: { field: at || 'options', reason: 'expected an object' } };
      const known = Object.keys(table);
      const field = (name: string) => (at === '' ? printable(name, 40) : `${at}.${printable(name, 40)}`);
      for (const name of Object.keys(value))
        if (!Object.hasOwn(table, name)) {
          const near = closest(name, known);
          const hint = near === undefined ? `known are ${known.join(', ')}` : `did you mean ${near}?`;
          return { wrong: { field: field(name), reason: `there is no such member; ${hint}` } };
        }
      const copy: Record<string, unknown> = {};
      for (const [name, { form, optional, read }] of members) {
        const given: unknown = Reflect.get(value, name);
        if (given === undefined && optional) continue;
        if (given === undefined)
          return { wrong: { field: field(name), reason: `is missing, expected ${form}` } };
        const member = read(given, field(name));
        if (member.wrong) return member;
        copy[name] = member.value;
      }
      const wrong = whole(copy);
      return wrong ? { wrong } : { value: copy };
    },
  };
};

/** One of several records, told apart by a member. */
export const variants = <T extends { readonly [K in D]: string }, D extends string>(
  by: D,
  tables: { readonly [V in T[D]]: Table<Extract<T, { readonly [K in D]: V }>> },
): Kind<T> => {
  const kinds = Object.entries(tables).map(
    ([name, table]) => [name, record(table as Table<object>)] as const,
  );
  const names = kinds.map(([name]) => JSON.stringify(name)).join(', ');
  return {
    form: `an object whose ${by} is one of ${names}`,
    read(value, field) {
      const chosen: unknown = isObject(value) ? Reflect.get(value, by) : undefined;
      const found = kinds.find(([name]) => name === chosen);
      if (!found) return { wrong: { field: `${field}.${by}`, reason: `expected one of ${names}` } };
      return found[1].read(value, field);
    },
  };
};

/** Members of an object that is the only argument are named without it. */
export const asks = <T extends object>(given: Kind<T>): Argument<T> => ({
  name: '',
  kind: given as Argument<T>['kind'],
});

/** The same where it may be left out. */
export const mayAsk = <T extends object>(given: Kind<T>): Argument<T | undefined> => ({
  name: '',
  kind: maybe(given) as Argument<T | undefined>['kind'],
});

/** A value, as it goes on, or what is wrong with it. A getter that throws is the caller's fault, too. */
export function readBy(given: Reading, value: unknown, field = ''): Read {
  try {
    return given.read(value, field);
  } catch {
    return { wrong: { field: field || 'options', reason: 'could not be read' } };
  }
}

/** The methods, each of which judges its arguments first. @param refuse gives what a method gives for wrong ones */
export function judged<T extends object>(
  methods: T,
  calls: Readonly<Record<string, readonly { readonly name: string; readonly kind: Reading }[]>>,
  refuse: (wrong: Wrong, method: string) => unknown,
): T {
  const guarded = Object.entries(calls).map(([name, expected]) => [
    name,
    (...given: unknown[]) => {
      const values: unknown[] = [];
      for (const [index, { name: field, kind: one }] of expected.entries()) {
        const read =
          given[index] === undefined && one.optional
            ? { value: undefined }
            : readBy(one, given[index], field);
        if (read.wrong) return refuse(read.wrong, name);
        values.push(read.value);
      }
      return Reflect.apply(Reflect.get(methods, name) as unknown as Callable, methods, values);
    },
  ]);
  return { ...methods, ...Object.fromEntries(guarded) };
}
