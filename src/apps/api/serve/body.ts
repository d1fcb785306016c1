import type { Request } from 'express';
import { err, ok, type Result } from 'neverthrow';
import { parseJsonObject } from '../../../domain/core/json.js';
import { type Refusal, refusal } from '../answers/refusals.js';

export type JsonObject = Readonly<Record<string, unknown>>;

/**
 * The JSON object in the body of a request, whatever its media type says; undefined: there is none. At most 1 MiB, and what
 * {@link parseJsonObject} accepts. Where middleware of the application has read it before, what that made of it.
 * @param within milliseconds until it is whole; 408 then
 */
export async function readBody(
  request: Request,
  within: number,
): Promise<Result<JsonObject | undefined, Refusal>> {
  const parsed: unknown = request.body;
  if (Buffer.isBuffer(parsed)) return parsedFrom(parsed);
  if (parsed !== undefined) return alreadyRead(parsed);
  if (request.headers['content-encoding'] !== undefined && request.headers['content-encoding'] !== 'identity')
    return err(refusal('compressed', 'the body must not be compressed'));
  if (Number(request.headers['content-length'] ?? 0) > maxBody) return err(tooLarge);
  const bytes = await collected(request, within);
  return bytes.andThen(parsedFrom);
}

const parsedFrom = (bytes: Uint8Array): Result<JsonObject | undefined, Refusal> =>
  bytes.length === 0
    ? ok(undefined)
    : parseJsonObject(bytes).mapErr((reason) => refusal('invalidJson', `the body: ${reason}`));

const maxBody = 1024 * 1024;
const tooLarge = refusal('tooLarge', `the body is larger than ${maxBody} bytes`);

const alreadyRead = (parsed: unknown): Result<JsonObject, Refusal> =>
  typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)
    ? ok(parsed as JsonObject)
    : err(refusal('invalidJson', 'the body is not a JSON object'));

/** What comes beyond the limit is not kept. */
function collected(request: Request, within: number): Promise<Result<Uint8Array, Refusal>> {
  return new Promise((settle) => {
    const parts: Buffer[] = [];
    const resolve = (outcome: Result<Uint8Array, Refusal>) => {
      clearTimeout(timer);
      settle(outcome);
    };
    let length = 0;
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      parts.length = 0;
      resolve(err(refusal('tooSlow', `the body was not whole within ${within} ms`)));
    }, within);
    const broken = () => resolve(err(refusal('incomplete', 'the body ended early')));
    request.on('data', (part: Buffer) => {
      length += part.length;
      if (late) return;
      if (length <= maxBody) parts.push(part);
      else {
        parts.length = 0;
        resolve(err(tooLarge));
      }
    });
    request.once('end', () => resolve(ok(Buffer.concat(parts))));
    request.once('error', broken);
    request.once('close', broken);
  });
}
