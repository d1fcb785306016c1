import { err, ok, ResultAsync, safeTry } from 'neverthrow';
import { issued, opened, unknownRequest } from '../../domain/pairing/request.js';
import {
  approvalByToken,
  judgeActivation,
  judgeIssue,
  judgeOpening,
  judgeToken,
} from '../../domain/pairing/units.js';
import type { JoinTokens } from '../../ports/join-tokens.js';
import type { Pairing, PairingRequests } from '../../ports/pairing.js';
import type { Registry } from '../../ports/registry.js';

interface Parts {
  readonly requests: PairingRequests;
  readonly registry: Registry;
  readonly joinTokens: JoinTokens;
}

/**
 * Pairing over a registry and join tokens that are kept apart from its requests. Its units of work are several
 * transactions, one unit after the other. Their order is such that one which was broken off lets nobody in, and can be repeated.
 */
export function separatePairing({ requests, registry, joinTokens }: Parts): Pairing {
  let last: Promise<unknown> = Promise.resolve();
  const inTurn = <T, E>(work: () => ResultAsync<T, E>): ResultAsync<T, E> => {
    const next = last.then(work, work);
    last = next;
    return new ResultAsync(next);
  };
  const known = (id: string) =>
    requests.find([id]).andThen(([request]) => (request ? ok(request) : err(unknownRequest(id))));

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

    activate: ({ name, spkiSha256, at }) =>
      inTurn(() =>
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
        }),
      ),
  };
}
