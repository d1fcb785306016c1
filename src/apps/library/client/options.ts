import { err, ok, type Result } from 'neverthrow';
import { type ClientError, clientError } from './error.js';

/** Where the API is, and who asks. */
export interface ApiClientOptions {
  /** `https://host:7445`, with the path that the API is mounted under. Default, with `socketPath` only: `http://localhost`. */
  readonly url?: string;
  /** Path of the Unix socket that the API listens on. */
  readonly socketPath?: string;
  /** Told to the auth hook. Default: empty. */
  readonly username?: string;
  /** Told to the auth hook, in the `Authorization` header; never in a URL, a message or an error. Default: none. */
  readonly token?: string;
  /** CA certificates, PEM, that the API's must chain to. Default: those of Node.js. */
  readonly ca?: string | readonly string[];
  /** Ends every request of this client. */
  readonly signal?: AbortSignal;
  /**
   * How often a request is sent again whose connection failed: what only reads, and runs, which carry an idempotency key. 0 to 10;
   * default 2. Waits 200 ms, then twice as long each time.
   */
  readonly retries?: number;
  /** Bytes of an answer, or of one event, that are accepted. Default: 256 MiB. */
  readonly maxAnswer?: number;
  /** Send a token without TLS to a host other than this one. Default false: `invalid_argument`. */
  readonly plainText?: boolean;
}

/** Options that were judged. */
export interface Settings {
  readonly origin: string;
  /** Without a slash at its end. */
  readonly base: string;
  readonly authorization: string | undefined;
  readonly retries: number;
  readonly maxAnswer: number;
}

const wrong = (field: string, expected: string) =>
  err(clientError('invalid_argument', `${field}: expected ${expected}`, { field }));

const isHere = (hostname: string): boolean =>
  hostname === 'localhost' || hostname === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(hostname);

export function settingsOf(options: ApiClientOptions): Result<Settings, ClientError> {
  const { socketPath, username = '', token = '', retries = 2, maxAnswer = 256 * 1024 * 1024 } = options;
  const text = options.url ?? (socketPath === undefined ? '' : 'http://localhost');
  if (!URL.canParse(text)) return wrong('url', 'an address such as https://control:7445');
  const url = new URL(text);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') return wrong('url', 'https: or http:');
  if (url.username || url.password) return wrong('url', 'no credentials: they belong in username and token');
  if (url.search || url.hash) return wrong('url', 'no query and no fragment');
  if (username.includes(':')) return wrong('username', 'no colon');
  const exposed = url.protocol === 'http:' && socketPath === undefined && !isHere(url.hostname);
  if (exposed && token !== '' && !options.plainText)
    return wrong('url', 'https: where a token is sent to another host');
  if (!Number.isInteger(retries) || retries < 0 || retries > 10) return wrong('retries', '0 to 10');
  if (!Number.isInteger(maxAnswer) || maxAnswer < 1) return wrong('maxAnswer', 'a number of bytes');
  const pair = Buffer.from(`${username}:${token}`).toString('base64');
  return ok({
    origin: url.origin,
    base: url.pathname.replace(/\/+$/, ''),
    authorization: username === '' && token === '' ? undefined : `Basic ${pair}`,
    retries,
    maxAnswer,
  });
}
