/** A request as a legacy agent takes it apart. */
export interface LegacyRequest {
  readonly method: string;
  readonly path: string;
  /** By lower-case name; of a repeated one, the last. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
}

export type LegacyReading =
  | { readonly kind: 'more' }
  | { readonly kind: 'request'; readonly request: LegacyRequest }
  | { readonly kind: 'refused'; readonly status: number; readonly error: string };

const maxHeaderLines = 32;
const maxBody = 1_048_576;

const refused = (status: number, error: string): LegacyReading => ({ kind: 'refused', status, error });

/** The lines that have come up to the first empty one, without their ends; `end` is where the body begins. */
function headerBlock(bytes: Buffer): { readonly lines: readonly string[]; readonly end: number | undefined } {
  const lines: string[] = [];
  for (let at = 0; ; ) {
    const feed = bytes.indexOf(0x0a, at);
    if (feed < 0) return { lines, end: undefined };
    const line = bytes.toString('latin1', at, feed).replace(/\r$/, '');
    at = feed + 1;
    if (line === '' && lines.length > 0) return { lines, end: at };
    lines.push(line);
  }
}

/**
 * Reads one request from the bytes that have come, as agents of all versions do (legacy facts 3.4): lines end with a line
 * feed, with or without a carriage return, and may be of any length; at most 32 header lines; names of any case; lines
 * that are no header are skipped; the body is as long as `Content-Length` says, at most 1 MiB; nothing else of HTTP.
 */
export function readLegacyRequest(bytes: Buffer): LegacyReading {
  const { lines, end } = headerBlock(bytes);
  const [first, ...rest] = lines;
  if (first === undefined) return { kind: 'more' };
  const [method = '', path = ''] = first.trim().split(/\s+/);
  if (method === '') return refused(400, 'empty request');
  if (rest.length > maxHeaderLines) return refused(431, 'too many headers');
  if (end === undefined) return { kind: 'more' };
  const headers = new Map(
    rest.flatMap((line): [string, string][] => {
      const [, name = '', value = ''] = /^([^:\s]+):\s*(.*)$/.exec(line) ?? [];
      return name === '' ? [] : [[name.toLowerCase(), value]];
    }),
  );
  const length = Number(/^\d+/.exec(headers.get('content-length') ?? '')?.[0] ?? 0);
  if (length > maxBody) return refused(413, 'request too large');
  if (bytes.length < end + length) return { kind: 'more' };
  return { kind: 'request', request: { method, path, headers, body: bytes.subarray(end, end + length) } };
}

const phrases: Readonly<Record<number, string>> = {
  200: 'OK',
  202: 'Accepted',
  400: 'Bad Request',
  403: 'Forbidden',
  404: 'Not Found',
  409: 'Conflict',
  413: 'Content Too Large',
  431: 'Request Header Fields Too Large',
};

/**
 * The bytes of an answer in the form of captures/agent-run-answer.http: these two headers, no Date, no Connection. The
 * early 0.8 has no words for 403.
 */
export function legacyAnswer(status: number, body: unknown, early = false): Buffer {
  const bytes = Buffer.from(JSON.stringify(body));
  const phrase = early && status === 403 ? 'Error' : (phrases[status] ?? 'Error');
  const head = [
    `HTTP/1.0 ${status} ${phrase}`,
    'Content-Type: application/json',
    `Content-Length: ${bytes.length}`,
    '',
    '',
  ].join('\r\n');
  return Buffer.concat([Buffer.from(head), bytes]);
}
