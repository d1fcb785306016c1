import { okAsync } from 'neverthrow';
import type { CtrlExecError } from '../../domain/core/errors.js';
import { maxListBody, maxRequestBody } from '../../domain/protocol/agent-protocol.js';
import { type HttpAnswer, jsonAnswer } from '../../domain/protocol/http-message.js';
import type { IncomingRequest } from '../../ports/listener.js';
import type { ReplayCache } from '../../ports/replay-cache.js';
import {
  checkRequestBody,
  checkRequestHead,
  type RequestRefusal,
  signAnswer,
  type VerifiedHead,
} from '../protocol/message-signing.js';
import type { AgentContext } from './context.js';
import { fittedCapabilities, serialsByScript, whyNotUnsigned } from './legacy-dispatchers.js';
import { answerPing, capabilities } from './reports.js';
import { answerCancel } from './runs/cancel.js';
import { answerResult } from './runs/result.js';
import { answerRun } from './runs/run-script.js';
import type { Runs } from './runs/runs.js';
import { answerSettle } from './runs/settle.js';
import type { Served } from './served.js';
import type { AgentState } from './state.js';
import { updateCas, updateRevocations } from './trust/authority-updates.js';
import { rotateSerial, succeed } from './trust/dispatcher-serials.js';
import { type CallingDispatcher, mismatch, recognise, type Stranger } from './trust/recognise.js';
import type { Renewals } from './trust/renewal.js';
import { withShown, writeTrustLines } from './trust/trust-lines.js';

/** What answering requests takes, for as long as an agent serves. */
export interface Serving {
  readonly context: AgentContext;
  readonly served: Served;
  readonly runs: Runs;
  readonly renewals: Renewals;
  readonly replay: ReplayCache;
  /** Requests that change something and were made before this moment (epoch milliseconds) may be repetitions; undefined: none. */
  readonly doubtfulBefore: number | undefined;
  /** After this moment of the monotonic clock none of them is accepted any more, whatever the other clock says. */
  readonly doubtfulUntil: number;
  /** Serials of dispatchers that have signed a request, as far as that could not be stored. */
  readonly signing: Set<string>;
  /** Serials of which what they showed could not be stored: not tried again with each request. */
  readonly notRemembered: Set<string>;
}

/** Answers one request and signs the answer, whatever it is, with the key of the certificate that its connection was shown. */
export async function answerRequest(serving: Serving, request: IncomingRequest): Promise<HttpAnswer> {
  const { context, served } = serving;
  const answer = await verified(serving, request);
  const signer = served.signerOf(request.peer.presented);
  // What streams is signed at its end.
  return signer && !answer.stream
    ? signAnswer(context.crypto, signer, answer, request, context.clock.now())
    : answer;
}

/**
 * Nothing of a request is read before its caller is recognised and its signature holds, and nothing of its body is parsed before
 * the signature's digest holds over its bytes.
 */
async function verified(serving: Serving, request: IncomingRequest): Promise<HttpAnswer> {
  const { context, served } = serving;
  const caller = recognise(context, served.current(), request);
  if ('status' in caller) return caller;
  const head = checkRequestHead(context.crypto, request, {
    certificate: caller.certificate,
    ownSpki: [request.peer.presented.spki],
    now: context.clock.now(),
  });
  const refusal = head.isErr() ? againstUnsigned(serving, caller, request, head.error) : undefined;
  if (refusal) return unverified(context, caller, request, refusal);
  const body = await request.body(bodyLimit(caller, request));
  if (body.isErr()) return bodyMissing(body.error);
  const whole = head.andThen((verified) => checkRequestBody(context.crypto, verified, body.value));
  if (head.isOk() && whole.isErr()) return unverified(context, caller, request, whole.error);
  // The body took its time: what was revoked meanwhile is refused.
  const still = /* defence: caller-is-recognised-after-body */ recognise(context, served.current(), request);
  if ('status' in still) return still;
  if (head.isErr()) {
    const since = againstUnsigned(serving, still, request, head.error);
    if (since || 'stranger' in still) return unverified(context, still, request, since ?? head.error);
    const caller = { ...still, unsigned: true };
    await remember(serving, caller);
    return route(serving, caller, request, body.value);
  }
  if ('id' in still) await remember(serving, still);
  const once = () => refuseRepetition(serving, still, request, head.value);
  if ('stranger' in still) return (await succeed(context, served, still, body.value, once)) ?? mismatch();
  const repeated = changesSomething(request) ? await once() : undefined;
  return repeated ?? route(serving, still, request, body.value);
}

/** What is against a request without a valid signature; undefined: it is one of a legacy dispatcher, and may be served. */
function againstUnsigned(
  { served, signing }: Serving,
  caller: CallingDispatcher | Stranger,
  request: IncomingRequest,
  refusal: RequestRefusal,
): RequestRefusal | undefined {
  // defence: unsigned-request-is-refused
  if ('stranger' in caller || refusal.error !== 'signature required') return refusal;
  const { state } = served.current();
  const why = whyNotUnsigned(state, signing, caller, request);
  return why === undefined ? undefined : { ...refusal, reason: `${refusal.reason}: ${why}` };
}

/**
 * The certificate of a trusted dispatcher is kept from its first signed request on: its key may have to vouch for its successor,
 * and whoever shows it must sign. A line without an id takes the one that the certificate names.
 */
async function remember(
  { context, served, signing, notRemembered }: Serving,
  caller: CallingDispatcher,
): Promise<void> {
  const { id, serial, unsigned } = caller;
  const certificate = unsigned ? undefined : caller.certificate;
  const isKnown = ({ dispatchers, lines }: AgentState) =>
    (!certificate || dispatchers.has(serial)) && lines.get(serial) === id;
  if (isKnown(served.current().state)) return;
  if (certificate) signing.add(serial);
  if (notRemembered.has(serial)) return;
  const outcome = await served.change(caller, ({ state }) =>
    okAsync(isKnown(state) ? undefined : writeTrustLines(withShown(state, serial, id, certificate))),
  );
  if (outcome.isOk()) {
    // Stored: there a person may take it out again.
    signing.delete(serial);
    return;
  }
  notRemembered.add(serial);
  context.events.emit({ action: 'warning', level: 'warning', fields: { reason: outcome.error.message } });
}

const holdsList: ReadonlySet<string> = new Set(['/v2/crl', '/rotate-serial']);

/** Bytes of body that are read: a revocation list is read whole, but not of a stranger. */
const bodyLimit = (caller: CallingDispatcher | Stranger, { path }: IncomingRequest): number =>
  /* defence: stranger-sends-little */ 'id' in caller && holdsList.has(path) ? maxListBody : maxRequestBody;

/** A list of revocations only goes forward, and a full record must not keep one away. */
const needsNoRecord: ReadonlySet<string> = new Set(['/ping', '/v2/crl']);

const changesSomething = ({ method, path }: IncomingRequest) =>
  method !== 'GET' && /* defence: list-needs-no-record */ !needsNoRecord.has(path);

const resultPath = /^\/result\/([A-Za-z0-9_-]{1,64})$/;

async function route(
  { context, served, runs, renewals }: Serving,
  caller: CallingDispatcher,
  request: IncomingRequest,
  body: Uint8Array,
): Promise<HttpAnswer> {
  const current = served.current();
  const { method, path } = request;
  const [, reqid] = (method === 'GET' && resultPath.exec(path)) || [];
  if (reqid !== undefined) return answerResult(context, current.state, caller, runs, reqid);
  switch (`${method} ${path}`) {
    case 'GET /capabilities': {
      const answer = await capabilities(context, current.state, caller);
      return caller.unsigned ? fittedCapabilities(answer) : answer;
    }
    case 'POST /ping':
      return answerPing(context, current, caller, body);
    case 'POST /run': {
      const serials = caller.unsigned && (await serialsByScript(context, served, caller, body));
      const signer = served.signerOf(request.peer.presented);
      return serials || answerRun(context, current.state, runs, { caller, request, body, signer });
    }
    case 'POST /rotate-serial':
      return rotateSerial(context, served, caller, body);
    case 'POST /renew':
      return renewals.begin(caller, body);
    case 'POST /renew-complete':
      return renewals.complete(caller, body);
    case 'POST /v2/settle':
      return answerSettle(context, current.state.settings, caller, runs, body);
    case 'POST /v2/cancel':
      return answerCancel(context, caller, runs, body);
    case 'POST /v2/crl':
      return updateRevocations(context, served, caller, body);
    case 'POST /v2/cas':
      return updateCas(context, served, caller, body);
    default:
      return jsonAnswer(404, { error: 'not found' });
  }
}

function unverified(
  { events }: AgentContext,
  caller: CallingDispatcher | Stranger,
  { path }: IncomingRequest,
  { error, reason }: RequestRefusal,
  detail?: string,
): HttpAnswer {
  events.emit({
    action: 'request-unverified',
    level: 'warning',
    fields: {
      ip: caller.address,
      path,
      dispatcher: 'id' in caller ? caller.id : caller.serial,
      refused: error,
      reason,
    },
  });
  return jsonAnswer(401, { error, ...(detail !== undefined && { detail }) });
}

/** Milliseconds that clocks may differ by (wire-protocol 2.3). */
const skew = 30_000;

/** Enters a request that changes something into the cache, before anything comes of it. */
async function refuseRepetition(
  { context, replay, doubtfulBefore, doubtfulUntil }: Serving,
  caller: CallingDispatcher | Stranger,
  request: IncomingRequest,
  { keyid, nonce, created, expires }: VerifiedHead,
): Promise<HttpAnswer | undefined> {
  const now = context.clock.now();
  const doubtful = doubtfulBefore !== undefined && context.clock.monotonic() < doubtfulUntil;
  // defence: lost-record-is-in-doubt
  if (doubtful && created <= doubtfulBefore) {
    const seconds = Math.max(1, Math.ceil((doubtfulBefore - now) / 1000));
    const detail = `the agent has lost its record of requests, by a reboot or otherwise, and cannot tell whether this one is a repetition; try again in ${seconds} s`;
    return unverified(context, caller, request, { error: 'replayed', reason: detail }, detail);
  }
  const entered = await replay.enter({ keyid, nonce, until: expires + skew }, now);
  if (entered.isErr()) {
    context.events.emit({
      action: 'internal-error',
      level: 'error',
      fields: { reason: entered.error.message },
    });
    return jsonAnswer(503, { error: 'busy: requests cannot be recorded' }, [['retry-after', '60']]);
  }
  if (/* defence: replayed-request-is-refused */ entered.value === 'fresh') return undefined;
  if (entered.value === 'full')
    return jsonAnswer(503, { error: 'busy: too many requests in a short time' }, [['retry-after', '60']]);
  return unverified(context, caller, request, { error: 'replayed', reason: 'seen before' });
}

const bodyMissing = (error: CtrlExecError): HttpAnswer =>
  error.code === 'too_large'
    ? jsonAnswer(413, { error: `request body larger than ${error.limit} bytes` })
    : jsonAnswer(400, { error: 'request body incomplete' });
