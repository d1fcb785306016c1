import type { Response } from 'express';
import type { Refusal } from './errors.js';

/** Answers with JSON; nothing of it may be kept by caches, it may hold what scripts have written. */
export function answerJson(response: Response, status: number, body: unknown): void {
  if (response.headersSent) return;
  const bytes = Buffer.from(JSON.stringify(body));
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': bytes.length,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    // What is left of a body that is too large is not read.
    ...(status === 413 && { connection: 'close' }),
  });
  response.end(bytes);
}

export const refuse = (response: Response, { status, body }: Refusal): void =>
  answerJson(response, status, body);
