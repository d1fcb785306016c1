/**
 * What was thrown may be anything, with accessors that throw again. Errors are told by what they carry: `instanceof Error` is false
 * for those of another realm, as a function of Node throws them into a `vm` context or a test of jest.
 */
const memberOf = (thrown: unknown, name: string): unknown => {
  try {
    return typeof thrown === 'object' && thrown !== null
      ? (thrown as Record<string, unknown>)[name]
      : undefined;
  } catch {
    return undefined;
  }
};

const has = (thrown: unknown, name: string): boolean => {
  try {
    return typeof thrown === 'object' && thrown !== null && name in thrown;
  } catch {
    return false;
  }
};

const textOf = (thrown: unknown, name: string): string | undefined => {
  const text = memberOf(thrown, name);
  return typeof text === 'string' ? text : undefined;
};

/** Whether it has what every error has: a name and a stack. */
export const isError = (thrown: unknown): boolean =>
  has(thrown, 'stack') && textOf(thrown, 'name') !== undefined;

/** The name of an error, `TypeError`; undefined where it is none. */
export const errorName = (thrown: unknown): string | undefined =>
  isError(thrown) ? textOf(thrown, 'name') || 'Error' : undefined;

/** The code of an error, as the system's: `ENOENT`; undefined where it has none. */
export const errorCode = (thrown: unknown): string | undefined => textOf(thrown, 'code');

/** Why a connection failed, as the system's code. Of several attempts one that was refused says most; a wrapper has a cause. */
export const connectionCode = (thrown: unknown): string | undefined => {
  const attempts = memberOf(thrown, 'errors');
  const codes = Array.isArray(attempts) ? attempts.map(errorCode) : [];
  const refused = codes.find((code) => code === 'ECONNREFUSED');
  return refused ?? errorCode(thrown) ?? codes.find(Boolean) ?? errorCode(memberOf(thrown, 'cause'));
};

/** The stack of an error; undefined where it has none. */
export const errorStack = (thrown: unknown): string | undefined => textOf(thrown, 'stack');

/** What it says, without a stack. Never empty. */
export const errorMessage = (thrown: unknown): string => {
  if (isError(thrown)) return textOf(thrown, 'message') || textOf(thrown, 'name') || 'Error';
  try {
    return String(thrown) || 'it threw an empty text';
  } catch {
    return 'it threw something without a text';
  }
};
