import { errAsync, okAsync } from 'neverthrow';
import { failure } from '../../domain/core/errors.js';
import {
  admit,
  decided,
  ended,
  endedLifetime,
  isGivenUp,
  issuedLifetime,
  notReady,
  type PairingRequest,
  unknownRequest,
  waits,
  whyUndecidable,
} from '../../domain/pairing/request.js';
import type { JoinTokens } from '../../ports/join-tokens.js';
import type { Pairing, PairingRequests } from '../../ports/pairing.js';
import type { Registry } from '../../ports/registry.js';
import type { RunStore } from '../../ports/run-store.js';
import { separatePairing } from './separate-pairing.js';

const memoryRequests = (): PairingRequests => {
  const requests = new Map<string, PairingRequest>();

  // Copies both ways: nobody else changes what is kept.
  const keep = (request: PairingRequest): PairingRequest => {
    requests.set(request.id, structuredClone(request));
    return structuredClone(request);
  };
  const where = (holds: (request: PairingRequest) => boolean): readonly PairingRequest[] =>
    structuredClone(
      [...requests.values()]
        .filter(holds)
        .sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1)),
    );

  return {
    begin: ({ request, limits }) => {
      if (requests.has(request.id)) {
        const message = `there is a pairing request ${request.id} already`;
        return errAsync(failure('store_failed', message, { operation: 'pairing.begin', reason: 'exists' }));
      }
      const held = where(({ place }) => place.kind === request.place.kind && place.until > request.createdAt);
      const { admission, displaced } = admit(request, held, limits);
      for (const other of displaced) keep(ended(other, 'expired'));
      if (admission === 'admitted') keep(request);
      return okAsync(admission);
    },

    find: (ids) => okAsync(where(({ id }) => ids.includes(id))),

    held: (at) => okAsync(where(({ place }) => place.until > at)),

    decide: ({ id, decision, at }) => {
      const request = requests.get(id);
      if (request === undefined) return errAsync(unknownRequest(id));
      const state = whyUndecidable(request, decision, at);
      return state === undefined ? okAsync(keep(decided(request, decision))) : errAsync(notReady(id, state));
    },

    end: ({ ids, state }) => {
      const waiting = where((request) => waits(request) && (ids?.includes(request.id) ?? true));
      for (const request of waiting) keep(ended(request, state));
      return okAsync(waiting.length);
    },

    givenUp: (since) =>
      okAsync(where((request) => isGivenUp(request, since) && request.createdAt > since).length),

    purge: (at) => {
      const old = where(
        (request) =>
          !waits(request) &&
          request.createdAt < at - (request.state === 'issued' ? issuedLifetime : endedLifetime),
      );
      for (const { id } of old) requests.delete(id);
      return okAsync(old.length);
    },

    named: (name) =>
      okAsync(
        where(
          ({ state, decision }) =>
            state === 'issued' && decision?.verdict === 'approve' && decision.name === name,
        ),
      ),

    replace: (request) => okAsync(keep(request)),
  };
};

/** The pairing requests, for as long as the process lives, over this registry, these join tokens and these runs. */
export const memoryPairing = (parts: {
  registry: Registry;
  joinTokens: JoinTokens;
  runStore: Pick<RunStore, 'release'>;
}): Pairing & PairingRequests => {
  const requests = memoryRequests();
  return { ...requests, ...separatePairing({ ...parts, requests }) };
};
