import type { IncomingMessage } from 'node:http';
import { err, ok, ResultAsync } from 'neverthrow';
import { failure } from '../../domain/core/errors.js';
import type { IncomingRequest } from '../../ports/listener.js';

type Body = Awaited<ReturnType<IncomingRequest['body']>>;

const tooLarge = (limit: number): Body =>
  err(
    failure('too_large', `the request's body is larger than ${limit} bytes`, {
      what: "the request's body",
      limit,
    }),
  );

function collect(request: IncomingMessage, limit: number, timeout: number): Promise<Body> {
  if (Number(request.headers['content-length'] ?? 0) > limit) return Promise.resolve(tooLarge(limit));
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const settle = (result: Body) => {
      clearTimeout(timer);
      request.off('data', onData).off('end', onEnd).off('close', onClose);
      resolve(result);
    };
    const onData = (chunk: Buffer) => {
      chunks.push(chunk);
      size += chunk.length;
      if (size <= limit) return;
      request.pause();
      settle(tooLarge(limit));
    };
    const onEnd = () => settle(ok(new Uint8Array(Buffer.concat(chunks))));
    const onClose = () => {
      const reason = 'closed before the whole body had come';
      const host = request.socket.remoteAddress ?? 'unknown';
      settle(err(failure('connection_failed', `the client's connection ${reason}`, { host, reason })));
    };
    const timer = setTimeout(() => {
      const seconds = timeout / 1000;
      settle(
        err(
          failure('timed_out', `the body did not come within ${seconds} s`, {
            phase: 'answer',
            timeoutMs: seconds * 1000,
          }),
        ),
      );
      request.socket.destroy();
    }, timeout);
    request.on('data', onData).on('end', onEnd).on('close', onClose);
  });
}

/** A request's body, read when it is first asked for. */
export function requestBody(request: IncomingMessage, maxBody: number, timeout: number) {
  let reading: Promise<Body> | undefined;
  let overflowed = false;
  return {
    read: (limit = maxBody): ReturnType<IncomingRequest['body']> => {
      reading ??= collect(request, limit, timeout).then((result) => {
        overflowed = result.isErr();
        return result;
      });
      return new ResultAsync(reading);
    },
    /** Whether the next request can be told apart from this one's rest. */
    isWhole: () => request.complete && !overflowed,
  };
}
