import { type ClientError, clientError, failureOf } from './error.js';
import { type ApiRequest, connectionError, type Sender } from './exchange.js';
import type { ErrorEvent } from './types.js';

/** A server-sent event as it was written. */
interface RawEvent {
  readonly event: string;
  readonly data: string;
}

/**
 * Server-sent events out of bytes (HTML Living Standard, section 9.2.6); ids and retry times are not used.
 * @param limit bytes of one event; undefined is given for one that is larger
 */
async function* parseEvents(
  body: AsyncIterable<Uint8Array>,
  limit: number,
): AsyncGenerator<RawEvent | undefined> {
  const decoder = new TextDecoder();
  let rest = '';
  let event = '';
  let data: string[] = [];
  let size = 0;
  for await (const piece of body) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? '';
    if (size + rest.length > limit) yield undefined;
    for (const line of lines) {
      size += line.length;
      if (size > limit) yield undefined;
      if (line === '') {
        if (data.length > 0) yield { event: event || 'message', data: data.join('\n') };
        [event, data, size] = ['', [], 0];
        continue;
      }
      const [, name, value = ''] = /^([^:]*):? ?(.*)$/s.exec(line) ?? [];
      if (name === 'event') event = value;
      else if (name === 'data') data.push(value);
    }
  }
}

/**
 * The events of one request, the last of which is `end` or `error`; it is sent when they are first asked for. Whoever leaves
 * the loop ends the request, not the run.
 */
export async function* follow<Event extends { readonly event: string }>(
  sender: Sender,
  request: ApiRequest,
  kinds: readonly string[],
): AsyncGenerator<Event | ErrorEvent, void, undefined> {
  const left = new AbortController();
  const signal = AbortSignal.any(request.signal ? [left.signal, request.signal] : [left.signal]);
  const failed = (error: ClientError): ErrorEvent => ({ event: 'error', error });
  try {
    const answer = await sender.send({ ...request, signal }, 'text/event-stream');
    if (answer.isErr()) return yield failed(answer.error);
    const { body, headers, statusCode } = answer.value;
    const strange = () =>
      failed(clientError('protocol_violation', 'no events of this API', { status: statusCode }));
    if (!String(headers['content-type']).startsWith('text/event-stream')) return yield strange();
    try {
      for await (const raw of parseEvents(body as AsyncIterable<Uint8Array>, sender.maxAnswer)) {
        if (raw === undefined)
          return yield failed(
            clientError('too_large', `an event has more than ${sender.maxAnswer} bytes`, {
              limit: sender.maxAnswer,
            }),
          );
        const data = jsonOf(raw.data);
        if (data === undefined) return yield strange();
        if (raw.event === 'error') return yield failed(failureOf(500, data));
        // A kind that is not known here is of a later version.
        if (!kinds.includes(raw.event)) continue;
        yield { event: raw.event, data } as unknown as Event;
        if (raw.event === 'end') return;
      }
    } catch (thrown) {
      return yield failed(connectionError(thrown, signal));
    }
    yield failed(
      clientError('connection_failed', 'the events ended before the run did', { reason: 'ended' }),
    );
  } finally {
    left.abort();
  }
}

function jsonOf(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
