import type { Response } from 'express';
import type { Refusal } from './errors.js';

/** Answers with text of a media type; nothing of it may be kept by caches, it may hold what scripts have written. */
export function answerText(response: Response, status: number, type: string, text: string): void {
  if (response.headersSent) return;
  const bytes = Buffer.from(text);
  response.writeHead(status, {
    'content-type': type,
    'content-length': bytes.length,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    // What is left of a body that is too large is not read.
    ...(status === 413 && { connection: 'close' }),
  });
  response.end(bytes);
}

export const answerJson = (response: Response, status: number, body: unknown): void =>
  answerText(response, status, 'application/json', JSON.stringify(body));

export const refuse = (response: Response, { status, body }: Refusal): void =>
  answerJson(response, status, body);
