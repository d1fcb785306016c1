import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import { hex } from '../../../domain/core/bytes.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { printable } from '../../../domain/core/names.js';
import {
  approvalTimeout,
  type LegacyAnswer,
  legacyPairingCode,
  readLegacyAnswer,
  writeLegacyRequest,
} from '../../../domain/legacy/pairing.js';
import { sessionSeconds } from '../../../domain/pairing/messages.js';
import type { AgentSettings } from '../../../domain/settings/agent.js';
import type { LegacyExchange } from '../../../ports/legacy-pairing.js';
import { wait } from '../../core/wait.js';
import { answerTimeout, connectTimeout } from '../../protocol/anonymous.js';
import type { AgentContext } from '../context.js';
import { pairingPort } from './connection.js';
import { type Identity, install } from './installation.js';
import { type ChosenKey, chooseKey } from './key.js';
import { judgeVersion1 } from './legacy-judgement.js';
import { deadlineOf, denied, type Paired, type PairingOptions, retryDelay } from './options.js';

/** What pairing had begun with when the dispatcher turned out to know version 1 only. */
interface Begun {
  readonly host: string;
  readonly key: ChosenKey;
  readonly present: Identity;
}

/**
 * Pairs by version 1 (wire-protocol 1.5): one request, which is answered twice. Everything that is believed of the dispatcher
 * rests on the fingerprint of its CA, or on nothing. The same errors as those of `pair`.
 */
export function pairByVersion1(
  context: AgentContext,
  settings: AgentSettings,
  options: PairingOptions,
  { host, key: chosen, present }: Begun,
): ResultAsync<Paired, CtrlExecError> {
  const { certificateRequests, crypto, events, random } = context;
  return safeTry(async function* () {
    // Dispatchers from 0.12 on sign RSA keys only.
    const key = chosen.fresh ? yield* chooseKey(context, undefined, true, 'rsa2048') : chosen;
    const csrPem = yield* certificateRequests.create(key.pem, host);
    const nonce = hex(random.bytes(16));
    const port = options.agentPort ?? settings.port;
    const lookupBy = options.lookupBy ?? 'hostname';
    const { exchange, request } = yield* ask(
      context,
      options,
      writeLegacyRequest({ host, csrPem, nonce, port, lookupBy }),
    );
    const code = legacyPairingCode(crypto.sha256, csrPem);
    options.onCode?.({ code, request, dispatcherId: undefined, version: 'v1' });

    const approval = yield* decision(exchange, options, key);
    const judged = yield* judgeVersion1(context, approval, {
      host,
      leaf: exchange.peer,
      nonce,
      spki: key.signing.spki,
      trust: options.trust,
    });
    const { certificate, name, whom } = judged;
    const { replace = false } = options;
    yield* install(context, settings, present, { key, replace, certificate, whom, signs: false });
    const { serial, notAfter } = certificate;
    const { dispatcherId } = whom;
    events.emit({
      action: 'paired',
      fields: { host: name, dispatcher: dispatcherId, serial, version: 'v1' },
    });
    const acceptsUnsigned = settings.acceptLegacyDispatchers;
    return ok<Paired>({ name, dispatcherId, code, serial, notAfter, version: 'v1', acceptsUnsigned });
  });
}

const notUnderstood = (reason: string): CtrlExecError =>
  failure('protocol_violation', `the dispatcher's answer is not understood: ${reason}`, { reason });

/** The request and the first answer; again every ten seconds while the dispatcher has too many requests waiting. */
function ask(
  context: AgentContext,
  options: PairingOptions,
  body: Uint8Array,
): ResultAsync<{ readonly exchange: LegacyExchange; readonly request: string }, CtrlExecError> {
  const { dispatcher: host, port = pairingPort, signal } = options;
  const deadline = deadlineOf(context, options);
  return safeTry(async function* () {
    for (;;) {
      const exchange = yield* context.legacyPairing.request({
        host,
        port,
        body,
        connectTimeout,
        answerTimeout,
        ...(signal && { signal }),
      });
      const first = readLegacyAnswer(exchange.first.body);
      if (first.isOk() && first.value.kind === 'pending')
        return ok({ exchange, request: first.value.request });
      exchange.close();
      if (first.isErr()) return err(notUnderstood(first.error));
      if (first.value.kind !== 'refused') return err(notUnderstood('approved before it was pending'));
      const { status, reason } = first.value;
      if (status === 'denied') return err(denied(reason));
      const full = reason === 'pairing queue full' && context.clock.monotonic() + retryDelay < deadline;
      if (!full) return err(refused(exchange.first.status, reason));
      yield* wait(context.clock, retryDelay, signal);
    }
  });
}

function refused(status: number, given: string): CtrlExecError<'refused'> {
  const reason = printable(given, 200);
  return failure('refused', `the dispatcher refused: ${reason}`, { status, reason });
}

/** What the operator decided, as soon as that is known. */
function decision(
  exchange: LegacyExchange,
  { timeout = sessionSeconds }: PairingOptions,
  key: ChosenKey,
): ResultAsync<LegacyAnswer & { kind: 'approved' }, CtrlExecError> {
  return exchange
    .second(timeout * 1000)
    .mapErr((error): CtrlExecError => (error.code === 'timed_out' ? unanswered(key) : error))
    .andThen((answer) => readLegacyAnswer(answer.body).mapErr(notUnderstood))
    .andThen((answer) => {
      if (answer.kind === 'approved') return ok(answer);
      if (answer.kind === 'pending') return err(notUnderstood('pending for a second time'));
      return err(answer.reason === approvalTimeout ? unanswered(key) : denied(answer.reason));
    });
}

/** A deployed dispatcher says nothing when it cannot sign what was approved. */
function unanswered({ signing }: ChosenKey): CtrlExecError<'pairing_expired'> {
  const message = 'nobody approved in time; the dispatcher may still show the request: deny it there';
  if (signing.algorithm === 'rsa-pss-sha512') return failure('pairing_expired', message, {});
  const hint = 'legacy dispatchers from 0.12 on sign RSA keys only, which --new-key makes by version 1';
  return failure('pairing_expired', `${message}; if somebody did: ${hint}`, {});
}
