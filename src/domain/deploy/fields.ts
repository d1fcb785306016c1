import { type Field, integer, isJsonObject, matching } from '../core/decode.js';
import { type Command, parseCommand } from './command.js';

/**
 * A path without superfluous slashes, as the Go agent takes it. Undefined: it is not absolute, has a `.`, a `..` or a control
 * character, or is longer than 4,096 characters.
 */
export function plainPath(path: string): string | undefined {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  const unfit = /[\u0000-\u001f\u007f]|\p{Surrogate}/u;
  if (!path.startsWith('/') || path.length > 4096 || unfit.test(path)) return undefined;
  const segments = path.split('/').filter((segment) => segment !== '');
  return segments.some((segment) => segment === '.' || segment === '..')
    ? undefined
    : `/${segments.join('/')}`;
}

const when = <T>(form: string, read: (text: string) => T | undefined): Field<T> => ({
  form,
  read: (value) => (typeof value === 'string' ? read(value) : undefined),
});

export const filePath = when('an absolute path without "." and ".."', (path) => {
  const plain = plainPath(path);
  return plain === '/' ? undefined : plain;
});

/** A name in a directory that is given apart. */
export const fileName = when('a file name without "/"', (name) =>
  name !== '' && !name.includes('/') && name.length <= 255 && plainPath(`/${name}`) !== undefined
    ? name
    : undefined,
);

export const command = when<Command>(
  'a command of plain words: it is executed without a shell, and quotes, "\\" and ;&|$`(){}<>*?[]~#! are refused',
  parseCommand,
);

/** The name or number of a user or group. */
export const accountPattern = /^([a-z_][a-z0-9_.-]{0,31}\$?|\d{1,9})$/i;

/** A user or group, by name or number. */
export const account = matching(accountPattern, 'the name or the number of a user or group');

/** Permission bits as the decimal number that JSON has for them: 420 is 0644. */
export const fileMode: Field<number> = {
  ...integer(0, 0o777),
  form: 'a file mode as a decimal number from 0 to 511 (420 is 0644)',
};

const nanosecondsInHour = 3_600_000_000_000;

/** Nanoseconds as a JSON number, at most an hour; read as milliseconds, a fraction counted as one. */
export const duration: Field<number> = {
  form: 'a duration in nanoseconds, a number from 0 to 3600000000000 (an hour)',
  read: (value) =>
    typeof value === 'number' && value >= 0 && value <= nanosecondsInHour
      ? Math.ceil(value / 1_000_000)
      : undefined,
};

export const flag: Field<boolean> = {
  form: 'true or false',
  read: (value) => (typeof value === 'boolean' ? value : undefined),
};

/** What the control plane leaves out is the same as what it sends empty: null, "" and 0 stand for the default. */
export function withoutZeroValues(value: unknown): unknown {
  if (!isJsonObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).filter(
      ([, member]) => member !== undefined && member !== null && member !== '' && member !== 0,
    ),
  );
}
