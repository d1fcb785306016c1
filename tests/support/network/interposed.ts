import type { ResultAsync } from 'neverthrow';
import type {
  Channel,
  ChannelAnswer,
  ChannelTarget,
  Connection,
  Exchange,
  ExchangeError,
} from '../../../src/ports/channel.js';

type Sent<E> = ResultAsync<ChannelAnswer, ExchangeError<E>>;

/** What happens to requests on their way; what is left out passes. */
export interface Interposed {
  /** Called with each target before it is connected to; given a result, that is how connecting ends. */
  readonly connect?: (...asked: Parameters<Channel['connect']>) => ReturnType<Channel['connect']> | undefined;
  /** Called with each request over a connection. */
  readonly exchange?: <E>(
    target: ChannelTarget,
    request: Exchange<E>,
    send: () => Sent<E>,
    connection: Connection,
  ) => Sent<E>;
}

/** A channel with somebody in between. */
export const interposed = (inner: Channel, { connect, exchange }: Interposed): Channel => ({
  ...inner,
  connect: (target, options) =>
    connect?.(target, options) ??
    inner.connect(target, options).map((connection) => ({
      ...connection,
      exchange: <E>(request: Exchange<E>) => {
        const send = () => connection.exchange(request);
        return exchange ? exchange(target, request, send, connection) : send();
      },
    })),
});
