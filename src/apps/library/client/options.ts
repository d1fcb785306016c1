import { err, ok, type Result } from 'neverthrow';
import {
  callback,
  dictionaryOf,
  either,
  filled,
  flag,
  listOf,
  maybe,
  number,
  readBy,
  record,
  signal,
  text,
  wrongText,
} from '../../../domain/core/border.js';
import { type ClientError, clientError } from './error.js';

/** Where the API is, and who asks. */
export interface ApiClientOptions {
  /** `https://host:7445`, with the path that the API is mounted under. Default, with `socketPath` only: `http://localhost`. */
  readonly url?: string;
  /** Path of the Unix socket that the API listens on. */
  readonly socketPath?: string;
  /** Told to the auth hook. Default: empty. */
  readonly username?: string;
  /**
   * Told to the auth hook, in the `Authorization` header; never in a URL, a message or an error. A function is asked once for each
   * call; its repetitions keep the token. Default: none.
   */
  readonly token?: string | (() => string | Promise<string>);
  /** Further headers of every request. Default: none. */
  readonly headers?: Readonly<Record<string, string>>;
  /** CA certificates, PEM, that the API's must chain to. Default: those of Node.js. */
  readonly ca?: string | readonly string[];
  /** The client's own certificate and its key, PEM, for a proxy that asks for them: both or neither. Default: none. */
  readonly cert?: string;
  /** See `cert`. */
  readonly key?: string;
  /** Sends the requests, instead of undici. Then `socketPath`, `ca`, `cert` and `key` are its own affair: `invalid_argument`. */
  readonly fetch?: typeof globalThis.fetch;
  /** Milliseconds until the answer of a request must have begun, 1 to 2,147,483,647: `timed_out`. Default: no limit. */
  readonly timeoutMs?: number;
  /** Ends every request of this client. */
  readonly signal?: AbortSignal;
  /**
   * How often a request is sent again whose connection failed: what only reads, and runs, which carry an idempotency key. 0 to 10;
   * default 2. Waits 200 ms, then twice as long each time.
   */
  readonly retries?: number;
  /** Bytes of an answer, or of one event, that are accepted. Default: 256 MiB. */
  readonly maxAnswer?: number;
  /** Send a token, or the headers `authorization`, `proxy-authorization` and `cookie`, without TLS to a host other than this one. Default false: `invalid_argument`. */
  readonly plainText?: boolean;
}

/** For one request. */
export interface CallOptions {
  /** Ends the request: `aborted`. A run that was begun goes on. */
  readonly signal?: AbortSignal;
}

/** For a request that starts a run. */
export interface RunOptions extends CallOptions {
  /**
   * One run per key, for as long as the dispatcher keeps its record: 1 to 255 printable ASCII characters. Default: a fresh one
   * for each call, so that sending it again after a broken connection cannot run the script twice.
   */
  readonly idempotencyKey?: string;
}

/** Options that were judged. */
export interface Settings {
  readonly options: ApiClientOptions;
  readonly origin: string;
  /** Without a slash at its end. */
  readonly base: string;
  /** The `Authorization` header of one call. */
  readonly authorization: () => Promise<Result<string | undefined, ClientError>>;
  readonly retries: number;
  readonly maxAnswer: number;
}

const wrong = (field: string, expected: string) =>
  err(clientError('invalid_argument', `${field}: expected ${expected}`, { field }));

const isHere = (hostname: string): boolean =>
  hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname);

const members = record<ApiClientOptions>({
  url: maybe(text),
  socketPath: maybe(filled),
  username: maybe(text),
  token: maybe(either(text, callback<() => string | Promise<string>>())),
  headers: maybe(dictionaryOf(text)),
  ca: maybe(either(text, listOf(text))),
  cert: maybe(text),
  key: maybe(text),
  fetch: maybe(callback<typeof globalThis.fetch>()),
  timeoutMs: maybe(number),
  signal: maybe(signal),
  retries: maybe(number),
  maxAnswer: maybe(number),
  plainText: maybe(flag),
});

/** What this client writes itself. */
const ownHeaders = new Set([
  'accept',
  'connection',
  'content-length',
  'content-type',
  'expect',
  'host',
  'idempotency-key',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
]);

/** Headers that a token stands in. */
const credentials = /^(proxy-)?authorization$|^cookie$/i;

function whyNotHeader([name, value]: [string, string], authorised: boolean): string | undefined {
  const lower = name.toLowerCase();
  if (!/^[a-z0-9!#$%&'*+.^_`|~-]+$/.test(lower)) return 'names of header fields';
  if (ownHeaders.has(lower)) return `no ${lower}: the client writes it`;
  if (lower === 'authorization' && authorised) return 'no authorization beside username and token';
  return /^[\t\x20-\x7e\x80-\xff]*$/.test(value)
    ? undefined
    : `${lower} in Latin-1, without control characters`;
}

/** As the header is written: once a call. */
function authorizationOf(username: string, token: string | (() => string | Promise<string>)) {
  const basic = (secret: string) =>
    username === '' && secret === ''
      ? undefined
      : `Basic ${Buffer.from(`${username}:${secret}`).toString('base64')}`;
  return async (): Promise<Result<string | undefined, ClientError>> => {
    if (typeof token === 'string') return ok(basic(token));
    try {
      const secret: unknown = await token();
      return typeof secret === 'string' ? ok(basic(secret)) : wrong('token', 'text of its function');
    } catch {
      return wrong('token', 'a function that gives it; this one failed');
    }
  };
}

/** Options that hold, or what is wrong with them. */
export function settingsOf(given: ApiClientOptions): Result<Settings, ClientError> {
  const judged = readBy(members, given);
  if (judged.wrong)
    return err(clientError('invalid_argument', wrongText(judged.wrong), { field: judged.wrong.field }));
  const options = judged.value as ApiClientOptions;
  const { socketPath, username = '', token = '', retries = 2, maxAnswer = 256 * 1024 * 1024 } = options;
  const { headers = {}, cert, key, timeoutMs } = options;
  const address = options.url ?? (socketPath === undefined ? '' : 'http://localhost');
  if (!URL.canParse(address)) return wrong('url', 'an address such as https://control:7445');
  const url = new URL(address);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return wrong('url', 'https: or http:');
  if (url.username || url.password) return wrong('url', 'no credentials: they belong in username and token');
  if (url.search || url.hash) return wrong('url', 'no query and no fragment');
  if (username.includes(':')) return wrong('username', 'no colon');
  const exposed = url.protocol === 'http:' && socketPath === undefined && !isHere(url.hostname);
  const tells = token !== '' || Object.keys(headers).some((name) => credentials.test(name));
  if (exposed && tells && !options.plainText)
    return wrong('url', 'https: where a token is sent to another host');
  if (!Number.isInteger(retries) || retries < 0 || retries > 10) return wrong('retries', '0 to 10');
  if (!Number.isInteger(maxAnswer) || maxAnswer < 1) return wrong('maxAnswer', 'a number of bytes');
  if (timeoutMs !== undefined && !(timeoutMs >= 1 && timeoutMs <= 2_147_483_647))
    return wrong('timeoutMs', '1 to 2147483647');
  if ((cert === undefined) !== (key === undefined)) return wrong('cert', 'both cert and key, or neither');
  for (const name of ['socketPath', 'ca', 'cert', 'key'] as const)
    if (options.fetch && options[name] !== undefined) return wrong(name, 'none beside fetch');
  const authorised = username !== '' || token !== '';
  for (const each of Object.entries(headers)) {
    const why = whyNotHeader(each, authorised);
    if (why !== undefined) return wrong('headers', why);
  }
  return ok({
    options,
    origin: url.origin,
    base: url.pathname.replace(/\/+$/, ''),
    authorization: authorizationOf(username, token),
    retries,
    maxAnswer,
  });
}
