import { err, type Result, ResultAsync } from 'neverthrow';
import { utf8 } from '../../domain/core/bytes.js';
import type { CtrlExecError } from '../../domain/core/errors.js';
import type { Certificate } from '../../domain/trust/certificate.js';
import type { Channel, ChannelError, ChannelTarget } from '../../ports/channel.js';
import type { Answers, Endpoint, Reading } from './endpoint.js';
import { type ReadingFailure, readAnswer } from './reading.js';

/** Milliseconds: of TCP and TLS together, and from the request's last byte to the answer's last. */
export const connectTimeout = 10_000;
export const answerTimeout = 20_000;

export interface AnonymousOptions {
  /** Whether the certificate is one that may be asked. */
  readonly meets: (leaf: Certificate) => Result<void, CtrlExecError<'wrong_identity'>>;
  readonly signal?: AbortSignal | undefined;
}

type AnonymousError = ChannelError | ReadingFailure | CtrlExecError<'wrong_identity'>;

/** What somebody has answered, and by which certificate. Neither is vouched for: that is the caller's to judge. */
export interface AnonymousAnswer<A extends Answers> {
  readonly answer: Reading<A>;
  readonly leaf: Certificate;
}

/**
 * Asks without a signature, and takes an answer without one (wire-protocol 2.2). Nobody is judged but by `meets`, which is called
 * before anything is sent.
 */
export function callAnonymously<R, A extends Answers>(
  { channel }: { readonly channel: Channel },
  endpoint: Endpoint<R, A>,
  target: ChannelTarget,
  request: R,
  { meets, signal }: AnonymousOptions,
): ResultAsync<AnonymousAnswer<A>, AnonymousError> {
  const { method, path, maxAnswer, says } = endpoint;
  const body = utf8(JSON.stringify(endpoint.request.write(request)));
  const attempt = async (fresh: boolean): Promise<Result<AnonymousAnswer<A>, AnonymousError>> => {
    const connected = await channel.connect(target, { timeout: connectTimeout, fresh, signal });
    if (connected.isErr()) return err(connected.error);
    const connection = connected.value;
    const { authority, kept, peer: leaf } = connection;
    const met = meets(leaf);
    if (met.isErr()) {
      connection.discard();
      return err(met.error);
    }
    const headers = [
      ['host', authority],
      ['content-type', 'application/json'],
      ...(says ? [says] : []),
    ] as const;
    const message = { method, path, query: '', headers, body };
    const exchanged = await connection.exchange({ ...message, answerTimeout, maxAnswer, signal });
    if (exchanged.isErr()) {
      connection.discard();
      const { sent, ...error } = exchanged.error;
      return !sent && kept ? attempt(true) : err(error as ChannelError);
    }
    connection.release();
    return readAnswer(endpoint, request, exchanged.value).map((answer) => ({ answer, leaf }));
  };
  return new ResultAsync(attempt(false));
}
