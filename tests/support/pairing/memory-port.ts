import { utf8 } from '../../../src/domain/core/bytes.js';
import { parseJsonObject } from '../../../src/domain/core/json.js';
import type { HeaderList } from '../../../src/domain/protocol/http-message.js';
import type { PairingModeOptions } from '../../../src/sdk/dispatcher/pairing/pairing-mode.js';
import { value } from '../../contract/result.js';
import { dispatcherHost, identifiedFleet, pairingPort } from '../fleet/memory-fleet.js';
import { askOver } from '../network/network.js';
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
      const channel = fleet.network.channel(address);
      const target = { host: dispatcherHost, port: pairingPort, trust: 'any', key: 'pairing' } as const;
      const asked = { path: `/pair/v2/${step}`, headers, body: utf8(body), maxAnswer: 100_000 };
      const answer = value(await askOver(channel, target, asked));
      await channel.close();
      return {
        status: answer.status,
        body: value(parseJsonObject(answer.body)),
        tlsSpki: answer.peer.spki.slice(),
      };
    };
  };
  const listed = async () => value(await control.dispatcher.pairingRequests());
  return { ...control, fleet, clock: fleet.clock, mode, from, post: from('192.0.2.1'), listed };
}
