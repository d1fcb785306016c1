import { err, ok, ResultAsync, safeTry } from 'neverthrow';

import { isFirstAnswer, nobodysKey, withObservation } from '../../domain/pairing/observation.js';
import { issued, opened, unknownRequest } from '../../domain/pairing/request.js';
import {
  approvalByToken,
  judgeActivation,
  judgeIssue,
  judgeOpening,
  judgeToken,
} from '../../domain/pairing/units.js';
import type { JoinTokens } from '../../ports/join-tokens.js';
import type { Pairing, PairingActivation, PairingRequests } from '../../ports/pairing.js';
import type { Registry } from '../../ports/registry.js';
import type { RunStore } from '../../ports/run-store.js';

interface Parts {
  readonly requests: PairingRequests;
  readonly registry: Registry;
  readonly joinTokens: JoinTokens;
  readonly runStore: Pick<RunStore, 'release'>;
}

/**
 * Pairing over a registry, join tokens and runs that are kept apart from its requests. Its units of work are several
 * transactions, one unit after the other. Their order is such that one which was broken off lets nobody in, and can be repeated.
 */
export function separatePairing({ requests, registry, joinTokens, runStore }: Parts): Pairing {
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T, E>(work: () => ResultAsync<T, E>): ResultAsync<T, E> => {
    const next = last.then(work, work);
    last = next;
    return new ResultAsync(next);
  };
  const known = (id: string) =>
    requests.find([id]).andThen(([request]) => (request ? ok(request) : err(unknownRequest(id))));

  const activate = ({ name, spkiSha256, at }: PairingActivation): ReturnType<Pairing['activate']> =>
    safeTry(async function* () {
      const record = yield* registry.find(name);
      const pin = record?.pins.filter((each) => each.spkiSha256 === spkiSha256).at(-1);
      if (!record || pin?.state !== 'issued' || pin.renewal) return registry.activate(name, spkiSha256);
      const [latest] = (yield* requests.named(name)).slice(-1);
      yield* judgeActivation(record, spkiSha256, latest);
      yield* joinTokens.burnBound(name, at);
      const activated = yield* registry.activate(name, spkiSha256);
      if (latest) yield* requests.replace({ ...latest, state: 'active' });
      return ok(activated);
    });

  return {
    ...requests,

    open: ({ id, code, expiresAt, csrSha256, joinAs: name, at }) =>
      inTurn(() =>
        safeTry(async function* () {
          const request = yield* known(id);
          if ((yield* judgeOpening(request, code, at)) === 'repeated') return ok(request);
          if (name === undefined) return requests.replace(opened(request, code, expiresAt));
          const tokenId = request.place.key;
          yield* judgeToken(yield* joinTokens.find(tokenId), { name, csrSha256, at });
          // What it is bound to is judged again when the certificate is issued.
          yield* joinTokens.bind(tokenId, csrSha256);
          return requests.replace(opened(request, code, expiresAt, approvalByToken(name)));
        }),
      ),

    issue: ({ id, enrolment, csrSha256 }) =>
      inTurn(() =>
        safeTry(async function* () {
          const { name, pin, at } = enrolment;
          const request = yield* known(id);
          const byToken = request.place.kind === 'join';
          const token = byToken ? yield* joinTokens.find(request.place.key) : undefined;
          const record = yield* registry.find(name);
          const question = { request, record, token, name, serial: pin.serial, csrSha256, at };
          if ((yield* judgeIssue(question)) === 'repeated') return ok(request);
          if (!record?.pins.some(({ serial }) => serial === pin.serial))
            yield* registry.enrol({ ...enrolment, replace: enrolment.replace || byToken });
          return requests.replace(issued(request));
        }),
      ),

    activate: (activation) => inTurn(() => activate(activation)),

    unpair: ({ name, at }) =>
      inTurn(() =>
        registry.remove(name).andThen((record) => runStore.release(name, undefined, at).map(() => record)),
      ),

    observed: (observation) =>
      inTurn(() =>
        safeTry(async function* () {
          const { spkiSha256, at, change, tags } = observation;
          const before = yield* registry.findByKey(spkiSha256);
          if (!before) return err(nobodysKey());
          const { name } = before;
          const first = isFirstAnswer(before, observation);
          const known = first ? yield* activate({ name, spkiSha256, at }) : before;
          const record = yield* withObservation(known, observation);
          if (record === known) return ok({ before, record });
          yield* registry.note(name, { ...change, lastContact: at });
          return ok({ before, record: tags ? yield* registry.update(name, { tags }) : record });
        }),
      ),
  };
}
