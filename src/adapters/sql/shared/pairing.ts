import { err, ok, type Result, safeTry } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import {
  isFirstAnswer,
  nobodysKey,
  type Observation,
  withObservation,
} from '../../../domain/pairing/observation.js';
import {
  type Admission,
  admit,
  decided,
  ended,
  endedLifetime,
  isGivenUp,
  issued,
  issuedLifetime,
  notReady,
  opened,
  type PairingRequest,
  whyUndecidable,
} from '../../../domain/pairing/request.js';
import {
  approvalByToken,
  judgeActivation,
  judgeIssue,
  judgeOpening,
  judgeToken,
} from '../../../domain/pairing/units.js';
import type { AgentRecord } from '../../../domain/trust/agent-record.js';
import type {
  Observed,
  Pairing,
  PairingActivation,
  PairingBegin,
  PairingIssue,
  PairingOpening,
  PairingRequests,
  Unpairing,
} from '../../../ports/pairing.js';
import type { EnrolmentRefusal } from '../../../ports/registry.js';
import { nameWithKey, readRecord } from './agent-rows.js';
import { bindToken, burnTokens, findToken } from './join-tokens.js';
import { addRequest, knownRequest, readRequests, replaceRequest, requestsWhere } from './pairing-rows.js';
import { activate as activateKey, enrol, remove, writeSelfReport } from './registry.js';
import { release } from './run-store.js';
import { type Database, type StoreFailed, storeFailed, type Transaction } from './transaction.js';

const begin = (tx: Transaction, { request, limits }: PairingBegin): Result<Admission, StoreFailed> =>
  safeTry(function* () {
    const { id, createdAt, place } = request;
    if ((yield* readRequests(tx, requestsWhere(tx).where('id', '=', id))).length > 0)
      return err(storeFailed('pairing.begin', 'exists', `there is a pairing request ${id} already`));
    const held = yield* readRequests(
      tx,
      requestsWhere(tx).where('place', '=', place.kind).where('place_until', '>', createdAt),
    );
    const { admission, displaced } = admit(request, held, limits);
    if (admission !== 'admitted') return ok(admission);
    for (const other of displaced) yield* replaceRequest(tx, ended(other, 'expired'));
    yield* addRequest(tx, request);
    return ok(admission);
  });

const open = (
  tx: Transaction,
  { id, code, expiresAt, csrSha256, joinAs: name, at }: PairingOpening,
): Result<PairingRequest, CtrlExecError<'pairing_unknown' | 'not_ready' | 'pairing_denied'> | StoreFailed> =>
  safeTry(function* () {
    const request = yield* knownRequest(tx, id);
    if ((yield* judgeOpening(request, code, at)) === 'repeated') return ok(request);
    if (name === undefined) return replaceRequest(tx, opened(request, code, expiresAt));
    const tokenId = request.place.key;
    yield* judgeToken(yield* findToken(tx, tokenId), { name, csrSha256, at });
    yield* bindToken(tx, tokenId, csrSha256);
    return replaceRequest(tx, opened(request, code, expiresAt, approvalByToken(name)));
  });

const issue = (
  tx: Transaction,
  { id, enrolment, csrSha256 }: PairingIssue,
): Result<
  PairingRequest,
  CtrlExecError<'pairing_unknown' | 'not_ready' | 'pairing_denied' | EnrolmentRefusal> | StoreFailed
> =>
  safeTry(function* () {
    const { name, pin, at } = enrolment;
    const request = yield* knownRequest(tx, id);
    const byToken = request.place.kind === 'join';
    const token = byToken ? yield* findToken(tx, request.place.key) : undefined;
    const record = yield* readRecord(tx, name);
    const question = { request, record, token, name, serial: pin.serial, csrSha256, at };
    if ((yield* judgeIssue(question)) === 'repeated') return ok(request);
    // What a token was judged for, just now, is that nobody uses the name.
    yield* enrol(tx, { ...enrolment, replace: enrolment.replace || byToken });
    return replaceRequest(tx, issued(request));
  });

const activate = (
  tx: Transaction,
  { name, spkiSha256, at }: PairingActivation,
): Result<AgentRecord, CtrlExecError<'agent_unknown' | 'agent_exists' | 'key_banned'> | StoreFailed> =>
  safeTry(function* () {
    const record = yield* readRecord(tx, name);
    const pin = record?.pins.filter((each) => each.spkiSha256 === spkiSha256).at(-1);
    if (!record || pin?.state !== 'issued' || pin.renewal) return activateKey(tx, name, spkiSha256);
    const requests = yield* readRequests(
      tx,
      requestsWhere(tx).where('state', '=', 'issued').where('issued_name', '=', name),
    );
    const [latest] = requests.slice(-1);
    yield* judgeActivation(record, spkiSha256, latest);
    const activated = yield* activateKey(tx, name, spkiSha256);
    yield* burnTokens(tx, name, at);
    if (latest) yield* replaceRequest(tx, { ...latest, state: 'active' });
    return ok(activated);
  });

type ObservationError =
  | CtrlExecError<'agent_unknown' | 'agent_exists' | 'key_banned' | 'unverified'>
  | StoreFailed;

const withKey = (
  tx: Transaction,
  spkiSha256: string,
): Result<AgentRecord, CtrlExecError<'agent_unknown'> | StoreFailed> =>
  nameWithKey(tx, spkiSha256)
    .andThen((name) => (name === undefined ? ok(undefined) : readRecord(tx, name)))
    .andThen((record) => (record ? ok(record) : err(nobodysKey())));

/** An answer that shows nothing new; undefined: it has to be recorded. */
const nothingNew = (
  tx: Transaction,
  observation: Observation,
): Result<Observed | undefined, ObservationError> =>
  withKey(tx, observation.spkiSha256).andThen((before) =>
    isFirstAnswer(before, observation)
      ? ok(undefined)
      : withObservation(before, observation).map((record) =>
          record === before ? { before, record } : undefined,
        ),
  );

const observe = (tx: Transaction, observation: Observation): Result<Observed, ObservationError> =>
  safeTry(function* () {
    const { spkiSha256, at } = observation;
    const before = yield* withKey(tx, spkiSha256);
    const { name } = before;
    const first = isFirstAnswer(before, observation);
    const known = first ? yield* activate(tx, { name, spkiSha256, at }) : before;
    const record = yield* withObservation(known, observation);
    if (record !== known) yield* writeSelfReport(tx, record);
    return ok({ before, record });
  });

const unpair = (
  tx: Transaction,
  { name, at }: Unpairing,
): Result<AgentRecord, CtrlExecError<'agent_unknown'> | StoreFailed> =>
  remove(tx, name).andThen((record) => release(tx, name, undefined, at).map(() => record));

/** The pairing requests, over one database. */
export const sqlPairingRequests = (database: Database): PairingRequests => ({
  begin: (start) => database.write('pairing.begin', (tx) => begin(tx, start)),

  find: (ids) =>
    database.read('pairing.find', (tx) => readRequests(tx, requestsWhere(tx).where('id', 'in', ids))),

  held: (at) =>
    database.read('pairing.held', (tx) => readRequests(tx, requestsWhere(tx).where('place_until', '>', at))),

  decide: ({ id, decision, at }) =>
    database.write('pairing.decide', (tx) =>
      knownRequest(tx, id).andThen((request) => {
        const state = whyUndecidable(request, decision, at);
        return state === undefined
          ? replaceRequest(tx, decided(request, decision))
          : err(notReady(id, state));
      }),
    ),

  end: ({ ids, state }) =>
    database.write('pairing.end', (tx) =>
      safeTry(function* () {
        const waiting = requestsWhere(tx).where('state', 'in', ['started', 'open']);
        const found = yield* readRequests(tx, ids ? waiting.where('id', 'in', ids) : waiting);
        for (const request of found) yield* replaceRequest(tx, ended(request, state));
        return ok(found.length);
      }),
    ),

  givenUp: (since) =>
    database.read('pairing.givenUp', (tx) =>
      readRequests(
        tx,
        requestsWhere(tx).where('place_until', '>', since).where('created_at', '>', since),
      ).map((found) => found.filter((request) => isGivenUp(request, since)).length),
    ),

  purge: (at) =>
    database.write('pairing.purge', (tx) => {
      const old = tx.query.deleteFrom('pairing_requests');
      return tx
        .change(
          old
            .where('state', 'in', ['active', 'denied', 'expired'])
            .where('created_at', '<', at - endedLifetime),
        )
        .andThen((count) =>
          tx
            .change(old.where('state', '=', 'issued').where('created_at', '<', at - issuedLifetime))
            .map((more) => count + more),
        );
    }),

  named: (name) =>
    database.read('pairing.named', (tx) =>
      readRequests(tx, requestsWhere(tx).where('state', '=', 'issued').where('issued_name', '=', name)),
    ),

  replace: (request) => database.write('pairing.replace', (tx) => replaceRequest(tx, request)),
});

/** Pairing over one database, which holds the registry, the join tokens and the runs as well. */
export const sqlPairing = (database: Database): Pairing => ({
  ...sqlPairingRequests(database),
  open: (opening) => database.write('pairing.open', (tx) => open(tx, opening)),
  issue: (given) => database.write('pairing.issue', (tx) => issue(tx, given)),
  activate: (activation) => database.write('pairing.activate', (tx) => activate(tx, activation)),
  unpair: (unpairing) => database.write('pairing.unpair', (tx) => unpair(tx, unpairing)),
  // Most answers show nothing new: a reader stands in nobody's way, and does not wait for who writes.
  observed: (observation) =>
    database
      .read('pairing.observed', (tx) => nothingNew(tx, observation))
      .andThen((known) =>
        known ? ok(known) : database.write('pairing.observed', (tx) => observe(tx, observation)),
      ),
});
