import { okAsync } from 'neverthrow';
import { parseJsonObject } from '../../../src/domain/core/json.js';
import type { HeaderList } from '../../../src/domain/protocol/http-message.js';
import type { PairingModeOptions } from '../../../src/sdk/dispatcher/pairing/pairing-mode.js';
import { value } from '../../contract/result.js';
import { dispatcherHost, identifiedFleet, pairingPort } from '../fleet/memory-fleet.js';
import type { Post } from './peer.js';

/** A dispatcher in pairing mode, and the messages that reach its port from any address. */
export async function openedPort(
  configuration = 'pairing_rate_limit_volume = 1000/60/300\n',
  options: PairingModeOptions = {},
) {
  const { fleet, control } = await identifiedFleet(configuration);
  const mode = value(await control.dispatcher.openPairing(options));
  /** Over connections that come from this address. */
  const from = (address: string, headers: HeaderList = []): Post => {
    return async (step, body) => {
      const transport = fleet.network.transport(address);
      let tlsSpki = new Uint8Array();
      const answer = await transport.request(
        {
          host: dispatcherHost,
          port: pairingPort,
          trust: 'any',
          connectionKey: `${address} ${Math.random()}`,
          judge: (leaf) => {
            tlsSpki = leaf.spki.slice();
            return okAsync(undefined);
          },
        },
        {
          method: 'POST',
          path: `/pair/v2/${step}`,
          query: '',
          headers,
          body: new TextEncoder().encode(body),
          connectTimeout: 1_000,
          answerTimeout: 1_000,
          maxAnswer: 100_000,
        },
      );
      await transport.close();
      const { status, body: bytes } = value(answer);
      return { status, body: value(parseJsonObject(bytes)), tlsSpki };
    };
  };
  const listed = async () => value(await control.dispatcher.pairingRequests());
  return { ...control, fleet, clock: fleet.clock, mode, from, post: from('192.0.2.1'), listed };
}
