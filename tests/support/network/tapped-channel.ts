import { err, ok, type ResultAsync } from 'neverthrow';
import type {
  Channel,
  ChannelAnswer,
  ChannelError,
  ChannelTarget,
  Connection,
  Exchange,
  ExchangeError,
} from '../../../src/ports/channel.js';

/** Passes a request on over the connection that it was made for. */
export type Pass = (request: Exchange) => ResultAsync<ChannelAnswer, ExchangeError>;

/** The channel, with somebody who has his hands on every exchange. */
export const tapped = (
  channel: Channel,
  tap: (request: Exchange, pass: Pass) => ResultAsync<ChannelAnswer, ExchangeError>,
): Channel => ({
  ...channel,
  connect: (target, options) =>
    channel.connect(target, options).map((connection) => ({
      ...connection,
      exchange: ((request: Exchange) =>
        tap(request, (passed) => connection.exchange(passed))) as Connection['exchange'],
    })),
});

/** The channel, of which some connections fail. @param refuse why the one to this target does; undefined: it does not */
export const failing = (
  channel: Channel,
  refuse: (target: ChannelTarget) => ChannelError | undefined,
): Channel => ({
  ...channel,
  connect: (target, options) =>
    channel.connect(target, options).andThen((connection) => {
      const refused = refuse(target);
      if (refused) connection.discard();
      return refused ? err(refused) : ok(connection);
    }),
});
