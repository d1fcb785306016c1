import { setImmediate } from 'node:timers/promises';
import type { Response } from 'express';
import { jsonPieces } from './json-text.js';
import { inWordsOf, type Refusal, refusal } from './refusals.js';

/** Begins an answer; nothing of it may be kept by caches, it may hold what scripts have written. */
const begin = (response: Response, status: number, type: string, length?: number) =>
  response.writeHead(status, {
    'content-type': type,
    ...(length !== undefined && { 'content-length': length }),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    // What is left of a body that is too large, or too slow, is not read.
    ...((status === 413 || status === 408) && { connection: 'close' }),
  });

/** Answers with text of a media type. */
export function answerText(response: Response, status: number, type: string, text: string): void {
  if (response.headersSent) return;
  const bytes = Buffer.from(text);
  begin(response, status, type, bytes.length).end(bytes);
}

/** Resolves when the client has taken what was written, or is gone. */
export const taken = (response: Response): Promise<void> =>
  new Promise((resolve) => {
    if (response.destroyed) return resolve();
    const done = () => {
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    response.on('drain', done);
    response.on('close', done);
  });

/** Answers with JSON. A long one goes out piece by piece, at the pace of its reader, and without its length. */
export async function answerJson(response: Response, status: number, body: unknown): Promise<void> {
  const type = 'application/json';
  const pieces = jsonPieces(body);
  const first = String(pieces.next().value);
  let next = pieces.next();
  if (next.done) return answerText(response, status, type, first);
  if (response.headersSent || response.destroyed) return;
  begin(response, status, type);
  let flowing = response.write(first);
  while (!next.done) {
    if (!flowing) await taken(response);
    // Others are served between two pieces.
    await setImmediate();
    if (response.destroyed) return;
    flowing = response.write(next.value);
    next = pieces.next();
  }
  response.end();
}

/** Answers with a refusal; what the log is to have stays with the response until then. */
export function refuse(response: Response, refusal: Refusal): void {
  const { status, body, reason } = inWordsOf(response.req.path, refusal);
  response.locals['reason'] = reason ?? (status === 403 ? body.detail : undefined);
  answerText(response, status, 'application/json', JSON.stringify(body));
}

/** There is no place for it now: soon there may be one. */
export function refuseBusy(response: Response, detail: string): void {
  if (!response.headersSent) response.setHeader('Retry-After', '1');
  refuse(response, refusal('busy', detail));
}
