import { err, ok, type Result } from 'neverthrow';
import {
  type BareItem,
  type Dictionary,
  isInnerList,
  type Parameters,
  parseDictionary,
  parseItem,
  parseList,
  serializeByteSequence,
  serializeDictionary,
  serializeInnerList,
  serializeItem,
  serializeList,
} from 'structured-headers';
import type { HeaderList, HttpRequestHead } from './http-message.js';

/** A request, as far as signatures see it; its authority is its one Host header. */
export interface RequestMessage extends HttpRequestHead {
  readonly scheme: 'http' | 'https';
}

export interface ResponseMessage {
  readonly status: number;
  readonly headers: HeaderList;
  /** What it answers, for components with `;req`. */
  readonly request?: RequestMessage;
}

export type Message = RequestMessage | ResponseMessage;

/** A component identifier (RFC 9421 section 2): a field or something derived, with its parameters. */
export interface Component {
  readonly name: string;
  readonly parameters: Parameters;
  /** As a Structured Field item: `"@method";req`. */
  readonly identifier: string;
}

/** How fields are structured that may be covered with `;sf` or `;key`; others are dictionaries where `;key` is said. */
export type FieldTypes = Readonly<Record<string, 'dictionary' | 'list' | 'item'>>;

const registeredTypes: FieldTypes = {
  'accept-signature': 'dictionary',
  'cache-status': 'list',
  'client-cert': 'item',
  'client-cert-chain': 'list',
  'content-digest': 'dictionary',
  priority: 'dictionary',
  'proxy-status': 'list',
  'repr-digest': 'dictionary',
  signature: 'dictionary',
  'signature-input': 'dictionary',
  'want-content-digest': 'dictionary',
  'want-repr-digest': 'dictionary',
};

const fieldName = /^[a-z0-9!#$%&'*+.^_`|~-]+$/;
const host = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(?::([0-9]*))?$/;
const printable = /^[\t\x20-\x7e]*$/;
const defaultPorts = { http: '80', https: '443' } as const;

const fromRequestOnly = new Set([
  '@method',
  '@target-uri',
  '@authority',
  '@scheme',
  '@request-target',
  '@path',
  '@query',
  '@query-param',
]);

/** Makes a component identifier; Err for one that RFC 9421 does not know or that this implementation does not support. */
export function component(name: string, parameters: Parameters = new Map()): Result<Component, string> {
  const why = name.startsWith('@') ? whyNotDerived(name, parameters) : whyNotField(name, parameters);
  if (why !== undefined) return err(`component "${name.slice(0, 64)}" ${why}`);
  return attempt(`component "${name}"`, () => serializeItem([name, parameters])).map((identifier) => ({
    name,
    parameters,
    identifier,
  }));
}

/** A component that is known to be valid. */
export const covered = (name: string, ...parameters: [string, BareItem][]): Component =>
  component(name, new Map(parameters)).match(
    (value) => value,
    (reason) => {
      throw new Error(reason);
    },
  );

function whyNotDerived(name: string, parameters: Parameters): string | undefined {
  if (name !== '@status' && !fromRequestOnly.has(name)) return 'is not known';
  const named = name === '@query-param';
  if (named && typeof parameters.get('name') !== 'string') return 'has no parameter name';
  for (const [key, value] of parameters) {
    if (key === 'name' && named) continue;
    if (key !== 'req' || name === '@status') return `has a parameter ${key} that it cannot have`;
    if (value !== true) return `has a parameter ${key} with a value`;
  }
  return undefined;
}

function whyNotField(name: string, parameters: Parameters): string | undefined {
  if (!fieldName.test(name)) return 'is no field name in lower case';
  for (const [key, value] of parameters) {
    if (key === 'tr') return 'is of the trailers, which are not supported';
    if (key === 'key') {
      if (typeof value !== 'string') return 'has a parameter key that is no string';
    } else if (key !== 'sf' && key !== 'bs' && key !== 'req') return `has an unknown parameter ${key}`;
    else if (value !== true) return `has a parameter ${key} with a value`;
  }
  if (parameters.has('bs') && (parameters.has('sf') || parameters.has('key')))
    return 'has parameters that exclude each other';
  return undefined;
}

/** Whether two identifiers are of the same component: the order of parameters does not count. */
export const identity = ({ name, parameters, identifier }: Component): string =>
  parameters.size < 2 ? identifier : serializeItem([name, new Map([...parameters].sort(byKey))]);

const byKey = ([a]: [string, BareItem], [b]: [string, BareItem]) => (a < b ? -1 : 1);

/** Spaces and tabs at both ends, and nothing else that JavaScript takes for white space. */
export function trimmed(text: string): string {
  const isSpace = (index: number) => text[index] === ' ' || text[index] === '\t';
  let start = 0;
  let end = text.length;
  while (start < end && isSpace(start)) start += 1;
  while (end > start && isSpace(end - 1)) end -= 1;
  return text.slice(start, end);
}

/** One line of a field: obsolete line folding becomes one space. */
const unfolded = (line: string) =>
  line.includes('\n')
    ? trimmed(
        line
          .split(/\r?\n(?=[ \t])/)
          .map(trimmed)
          .join(' '),
      )
    : trimmed(line);

/** The lines of a field, or undefined where the message has none of that name. */
export function fieldLines(headers: HeaderList, name: string): readonly string[] | undefined {
  const lines: string[] = [];
  for (const [key, value] of headers) if (key === name) lines.push(unfolded(value));
  return lines.length > 0 ? lines : undefined;
}

/** Runs what throws on malformed input. */
function attempt<T>(what: string, run: () => T): Result<T, string> {
  try {
    return ok(run());
  } catch {
    return err(`${what} is malformed`);
  }
}

/** A dictionary (RFC 9651 section 3.2). */
export const readDictionary = (name: string, text: string): Result<Dictionary, string> =>
  attempt(name, () => parseDictionary(text));

/** The value of a component in the base of a signature. */
export type ReadComponent = (component: Component) => Result<string, string>;

/** Reads components of one message; what was parsed once is not parsed again. */
export function componentReader(message: Message, fieldTypes: FieldTypes = {}): ReadComponent {
  const parsed = new Map<string, Result<Dictionary, string>>();
  const typeOf = (name: string) => {
    if (Object.hasOwn(fieldTypes, name)) return fieldTypes[name];
    return Object.hasOwn(registeredTypes, name) ? registeredTypes[name] : undefined;
  };

  const member = (text: string, { name, parameters }: Component): Result<string, string> => {
    const type = typeOf(name) ?? 'dictionary';
    if (type !== 'dictionary') return err(`${name} is no dictionary`);
    const from = `${parameters.has('req')} ${name}`;
    const dictionary = parsed.get(from) ?? readDictionary(name, text);
    parsed.set(from, dictionary);
    return dictionary.andThen((members) => {
      const found = members.get(String(parameters.get('key')));
      if (found === undefined) return err(`${name} has no member ${String(parameters.get('key'))}`);
      return ok(isInnerList(found) ? serializeInnerList(found) : serializeItem(found));
    });
  };

  const structured = (text: string, name: string): Result<string, string> => {
    const type = typeOf(name);
    if (type === undefined) return err(`it is not known how ${name} is structured`);
    return attempt(name, () => {
      if (type === 'dictionary') return serializeDictionary(parseDictionary(text));
      return type === 'list' ? serializeList(parseList(text)) : serializeItem(parseItem(text));
    });
  };

  const field = (headers: HeaderList, wanted: Component): Result<string, string> => {
    const { name, parameters } = wanted;
    const lines = fieldLines(headers, name);
    if (!lines) return err(`${name} is missing`);
    if (parameters.has('bs')) return binary(name, lines);
    const text = lines.join(', ');
    if (!parameters.has('key') && !parameters.has('sf')) return ok(text);
    if (hasWholeDecimal(text)) return err(`${name} has a decimal that cannot be written back`);
    return parameters.has('key') ? member(text, wanted) : structured(text, name);
  };

  return (wanted) => {
    const { name, parameters, identifier } = wanted;
    const response = 'status' in message ? message : undefined;
    if (parameters.has('req') && !response) return err(`${identifier} is for answers`);
    const source = parameters.has('req') ? response?.request : message;
    if (!source) return err(`${identifier} needs the request`);
    return (name.startsWith('@') ? derived(source, wanted) : field(source.headers, wanted)).andThen(
      (value) =>
        printable.test(value) ? ok(value) : err(`${identifier} has characters that are not printable ASCII`),
    );
  };
}

/** The library forgets whether 1.0 was a decimal. */
const hasWholeDecimal = (text: string) =>
  text.includes('.0') && /[0-9]\.0+(?![0-9])/.test(text.replaceAll(/"(?:[^"\\]|\\.)*"/g, ''));

/** Each line as a byte sequence (section 2.1.3). */
function binary(name: string, lines: readonly string[]): Result<string, string> {
  const sequences: string[] = [];
  for (const line of lines) {
    const bytes = Uint8Array.from(line, (character) => character.charCodeAt(0));
    if (bytes.some((byte, index) => byte !== line.charCodeAt(index))) return err(`${name} is not of bytes`);
    sequences.push(serializeByteSequence(bytes));
  }
  return ok(sequences.join(', '));
}

function derived(source: Message, { name, parameters }: Component): Result<string, string> {
  if ('status' in source) {
    if (name !== '@status') return err(`${name} is of requests`);
    return source.status >= 100 && source.status <= 999 && Number.isInteger(source.status)
      ? ok(String(source.status))
      : err('the status has not three digits');
  }
  const target = `${source.path === '' ? '/' : source.path}${source.query}`;
  switch (name) {
    case '@method':
      return ok(source.method);
    case '@authority':
      return authorityOf(source);
    case '@scheme':
      return ok(source.scheme);
    case '@path':
      return ok(source.path === '' ? '/' : source.path);
    case '@query':
      return ok(source.query === '' ? '?' : source.query);
    case '@request-target':
      return ok(target);
    case '@target-uri':
      return hostOf(source).map((value) => `${source.scheme}://${value}${target}`);
    case '@query-param':
      return queryParameter(source.query, String(parameters.get('name')));
    default:
      return err(`${name} is of answers`);
  }
}

function hostOf({ headers }: RequestMessage): Result<string, string> {
  const [line, second] = fieldLines(headers, 'host') ?? [];
  if (line === undefined) return err('the request has no Host');
  return second === undefined ? ok(line) : err('the request has several Host');
}

/** Section 2.2.3: lower case, without the default port of the scheme. */
function authorityOf(request: RequestMessage): Result<string, string> {
  return hostOf(request).andThen((value) => {
    const [, name, port] = host.exec(value) ?? [];
    if (name === undefined) return err('Host is malformed');
    const shown =
      port === undefined || port === '' || port === defaultPorts[request.scheme] ? '' : `:${port}`;
    return ok(`${name.toLowerCase()}${shown}`);
  });
}

/** Section 2.2.8: read as a form, written percent-encoded; a name must be there once. */
function queryParameter(query: string, name: string): Result<string, string> {
  const encoded = (text: string) =>
    encodeURIComponent(text).replaceAll(
      /[!'()~]/g,
      (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
    );
  const values: string[] = [];
  for (const [key, value] of new URLSearchParams(query))
    if (encoded(key) === name) values.push(encoded(value));
  const [value, second] = values;
  if (value === undefined) return err('the query has no such parameter');
  return second === undefined ? ok(value) : err('the query has that parameter several times');
}
