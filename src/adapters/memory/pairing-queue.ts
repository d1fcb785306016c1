import { errAsync, okAsync } from 'neverthrow';
import { failure } from '../../domain/core/errors.js';
import { decided, type PairingRequest, whyUndecidable } from '../../domain/pairing/request.js';
import type { PairingQueue } from '../../ports/pairing-queue.js';

const unknownRequest = (id: string) =>
  failure('pairing_unknown', `there is no pairing request ${id}`, { id });

/** The pairing requests, for as long as the process lives. */
export const memoryPairingQueue = (): PairingQueue => {
  const requests = new Map<string, PairingRequest>();

  // Copies both ways: nobody else changes what is kept.
  const keep = (request: PairingRequest): PairingRequest => {
    requests.set(request.id, structuredClone(request));
    return structuredClone(request);
  };

  return {
    add: (request) => {
      if (requests.has(request.id)) {
        const message = `there is a pairing request ${request.id} already`;
        return errAsync(failure('store_failed', message, { operation: 'pairing.add', reason: 'exists' }));
      }
      keep(request);
      return okAsync(undefined);
    },

    find: (id) => okAsync(structuredClone(requests.get(id))),

    list: (states) =>
      okAsync(
        structuredClone(
          [...requests.values()]
            .filter(({ state }) => states.includes(state))
            .sort((a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1)),
        ),
      ),

    advance: (id, state, change) => {
      const request = requests.get(id);
      if (request === undefined) return errAsync(unknownRequest(id));
      return okAsync(keep({ ...request, state, code: change?.code ?? request.code }));
    },

    decide: (id, decision, now) => {
      const request = requests.get(id);
      if (request === undefined) return errAsync(unknownRequest(id));
      const state = whyUndecidable(request, now);
      if (state === undefined) return okAsync(keep(decided(request, decision)));
      const message = `pairing request ${id} cannot be decided: it is ${state}`;
      return errAsync(failure('not_ready', message, { id, state }));
    },

    expire: (before) => {
      const waiting = [...requests.values()].filter(
        ({ state, expiresAt }) =>
          (state === 'started' || state === 'open') && (before === undefined || expiresAt <= before),
      );
      for (const request of waiting) keep({ ...request, state: 'expired' });
      return okAsync(waiting.length);
    },

    purge: (createdBefore) => {
      const ended = [...requests.values()].filter(
        ({ state, createdAt }) =>
          (state === 'active' || state === 'denied' || state === 'expired') && createdAt < createdBefore,
      );
      for (const { id } of ended) requests.delete(id);
      return okAsync(ended.length);
    },
  };
};
