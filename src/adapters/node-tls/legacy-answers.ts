import { err, ok, type Result } from 'neverthrow';
import type { HeaderList, HttpAnswer } from '../../domain/protocol/http-message.js';

const maxHead = 8 * 1024;
const maxHeaderLines = 32;

/** Bytes of a body at most. */
export const maxBody = 64 * 1024;

/** Why bytes are no answer: `too large`, or in words. */
export type NoAnswer = { readonly reason: string; readonly tooLarge: boolean };

const wrong = (reason: string) => err({ reason, tooLarge: false });

interface Head {
  readonly status: number;
  readonly headers: HeaderList;
  /** Of the body, in bytes. */
  readonly length: number;
}

function readHead(text: string): Result<Head, NoAnswer> {
  const [first = '', ...lines] = text.split('\r\n');
  const status = /^HTTP\/1\.[01] (\d{3})(?: [\x20-\x7e]*)?$/.exec(first)?.[1];
  if (status === undefined) return wrong('no status line');
  if (lines.length > maxHeaderLines) return wrong(`more than ${maxHeaderLines} header lines`);
  const headers: [string, string][] = [];
  for (const line of lines) {
    const [, name, value] = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t]*?)[ \t]*$/.exec(line) ?? [];
    if (name === undefined || value === undefined) return wrong('a malformed header line');
    headers.push([name.toLowerCase(), value]);
  }
  if (headers.some(([name]) => name === 'transfer-encoding')) return wrong('a transfer encoding');
  const lengths = headers.filter(([name]) => name === 'content-length').map(([, value]) => value);
  const [length = ''] = lengths;
  if (lengths.length !== 1 || !/^\d{1,15}$/.test(length)) return wrong('not one Content-Length');
  if (Number(length) > maxBody) return err({ reason: 'its body is too large', tooLarge: true });
  return ok({ status: Number(status), headers, length: Number(length) });
}

/**
 * Takes one answer off the front of what has come so far.
 * @returns the answer and what follows it; undefined while it is not whole
 */
export function takeAnswer(
  bytes: Buffer,
): Result<{ readonly answer: HttpAnswer; readonly rest: Buffer } | undefined, NoAnswer> {
  const end = bytes.indexOf('\r\n\r\n');
  if (end > maxHead || (end < 0 && bytes.length > maxHead))
    return wrong(`more than ${maxHead} bytes of header`);
  if (end < 0) return ok(undefined);
  return readHead(bytes.toString('latin1', 0, end)).map(({ status, headers, length }) => {
    const start = end + 4;
    if (bytes.length < start + length) return undefined;
    const body = new Uint8Array(bytes.subarray(start, start + length));
    return { answer: { status, headers, body }, rest: bytes.subarray(start + length) };
  });
}
