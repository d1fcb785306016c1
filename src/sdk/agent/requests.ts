import { okAsync } from 'neverthrow';
import type { Certificate } from '../../domain/trust/certificate.js';
import type { ListenOptions } from '../../ports/listener.js';
import type { RunJournal } from '../../ports/run-journal.js';
import type { Refusal } from '../protocol/endpoint.js';
import type { Caller, EndpointName, Handlers, ServerTrust } from '../protocol/handler.js';
import type { VerifiedHead } from '../protocol/message-signing.js';
import { server } from '../protocol/server.js';
import type { AgentContext } from './context.js';
import { answerDiscovery, answerPing } from './reports.js';
import { answerCancel, answerResult, answerSettle } from './runs/records.js';
import { answerRun, authoriseRun } from './runs/run.js';
import type { Runs } from './runs/runs.js';
import type { Served } from './state/served.js';
import { updateCas, updateRevocations } from './trust/authority-updates.js';
import { rotateSerial, succeed } from './trust/dispatcher-serials.js';
import { recognise } from './trust/recognise.js';
import { renewals } from './trust/renewal.js';
import { type StoredTrust, withShown, writeTrustLines } from './trust/trust-lines.js';

/** What answering requests takes, for as long as an agent serves. */
export interface Serving {
  readonly context: AgentContext;
  readonly served: Served;
  readonly runs: Runs;
  readonly journal: RunJournal;
  /** Requests that change something and were made before this moment (epoch milliseconds) may be repetitions; undefined: none. */
  readonly doubtfulBefore: number | undefined;
  /** After this moment of the monotonic clock none of them is accepted any more, whatever the other clock says. */
  readonly doubtfulUntil: number;
  /** Serials of dispatchers that have signed a request, as far as that could not be stored. */
  readonly signing: Set<string>;
  /** Serials of which what they showed could not be stored: not tried again with each request. */
  readonly notRemembered: Set<string>;
}

/** Answers what dispatchers ask of this agent. */
export function answerRequests(serving: Serving): ListenOptions['handle'] {
  const { context, served, runs } = serving;
  const renewal = renewals(context, served);
  const state = () => served.current().state;
  const handlers: Handlers = {
    ping: async (caller, ask) => answerPing(context, served.current(), caller, ask),
    discovery: (caller) => answerDiscovery(context, served.current(), caller),
    run: (caller, ask, call) => answerRun(context, state(), runs, caller, ask, call),
    result: (caller, ask) => answerResult(context, state(), runs, caller, ask),
    settle: (caller, ask) => answerSettle(context, state(), runs, caller, ask),
    cancel: (caller, ask) => answerCancel(context, runs, caller, ask),
    serials: (caller, change) => rotateSerial(context, served, caller, change),
    list: (caller, update) => updateRevocations(context, served, caller, update),
    authorities: (caller, update) => updateCas(context, served, caller, update),
    renew: renewal.begin,
    renewed: renewal.complete,
  };
  return server(context, trustOf(serving)).serve(handlers, {
    serials: (stranger, change, call) => succeed(context, served, stranger, change, call),
  });
}

const updates: ReadonlySet<EndpointName> = new Set(['list', 'authorities', 'renew', 'renewed']);

const trustOf = (serving: Serving): ServerTrust => {
  const { context, served, signing } = serving;
  const { events } = context;
  return {
    identify: (peer, asked) => recognise(context, served.current(), peer, asked),
    signerOf: served.signerOf,
    whyMustSign({ serial }) {
      const { dispatchers, settings } = served.current().state;
      if (!settings.acceptLegacyDispatchers) return 'accept_legacy_dispatchers is off';
      // defence: dispatcher-that-signed-must-sign
      if (dispatchers.has(serial) || signing.has(serial))
        return `serial ${serial} signs its requests; if that has ended: ctrl-exec-agent trust --unsigned ${serial}`;
      return undefined;
    },
    onVerified: (caller, signed) => remember(serving, caller, signed ? caller.certificate : undefined),
    onUnverified: ({ address: ip, id, serial }, path, { error: refused, reason }) =>
      events.emit({
        action: 'request-unverified',
        level: 'warning',
        fields: { ip, path, dispatcher: id ?? serial, refused, reason },
      }),
    onMalformed({ address: ip, id: dispatcher }, { path, endpoint }, reason, { reqid }) {
      if (endpoint === 'run')
        events.emit({
          action: 'run-refused',
          level: 'warning',
          fields: {
            script: undefined,
            reqid: typeof reqid === 'string' ? reqid : undefined,
            dispatcher,
            ip,
            reason,
          },
        });
      if (updates.has(endpoint))
        events.emit({
          action: 'update-refused',
          level: 'warning',
          fields: { dispatcher, ip, path, reason },
        });
    },
    claim: (request) => claim(serving, request),
    async whyNotAnnounced(caller, ask) {
      const verdict = await authoriseRun(context, served.current().state.settings, caller, ask);
      return verdict.allowed ? undefined : verdict.reason;
    },
    failed: (error) =>
      events.emit({ action: 'internal-error', level: 'error', fields: { reason: String(error) } }),
  };
};

/**
 * The certificate of a trusted dispatcher is kept from its first signed request on: its key may have to vouch for its successor,
 * and whoever shows it must sign. A line without an id takes the one that the certificate names.
 * @param certificate undefined: it has not signed
 */
async function remember(
  { context, served, signing, notRemembered }: Serving,
  caller: Caller,
  certificate: Certificate | undefined,
): Promise<void> {
  const { id, serial } = caller;
  const isKnown = ({ dispatchers, lines }: StoredTrust) =>
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

/** Milliseconds that clocks may differ by (wire-protocol 2.3). */
const skew = 30_000;

/** Enters a request that changes something into the journal, before anything comes of it. */
async function claim(
  { context, journal, doubtfulBefore, doubtfulUntil }: Serving,
  { keyid, nonce, created, expires }: VerifiedHead,
): Promise<Refusal | undefined> {
  const now = context.clock.now();
  const doubtful = doubtfulBefore !== undefined && context.clock.monotonic() < doubtfulUntil;
  // defence: lost-record-is-in-doubt
  if (doubtful && created <= doubtfulBefore) {
    const seconds = Math.max(1, Math.ceil((doubtfulBefore - now) / 1000));
    const detail = `the agent has lost its record of requests, by a reboot or otherwise, and cannot tell whether this one is a repetition; try again in ${seconds} s`;
    return { refused: 'unverified', error: 'replayed', detail };
  }
  const entered = await journal.claim({ nonce: { keyid, nonce, until: expires + skew } }, now);
  if (entered.isErr()) {
    context.events.emit({
      action: 'internal-error',
      level: 'error',
      fields: { reason: entered.error.message },
    });
    return { refused: 'busy', error: 'busy: requests cannot be recorded', retryAfter: 60 };
  }
  if (/* defence: replayed-request-is-refused */ entered.value.kind === 'begun') return undefined;
  return entered.value.kind === 'full'
    ? { refused: 'busy', error: 'busy: too many requests in a short time', retryAfter: 60 }
    : { refused: 'unverified', error: 'replayed' };
}
