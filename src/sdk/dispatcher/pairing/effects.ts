import { okAsync, type Result, type ResultAsync } from 'neverthrow';
import { hex } from '../../../domain/core/bytes.js';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import type { LegacySession } from '../../../domain/legacy/pairing-session.js';
import type { Applicant, Introduction, Outcome, Wanted } from '../../../domain/pairing/effects.js';
import type { Session } from '../../../domain/pairing/session.js';
import { newStanding } from '../../../domain/trust/agent-standing.js';
import { caSetDigest } from '../../../domain/trust/lifecycle.js';
import type { DispatcherContext } from '../context.js';
import { validFor } from '../trust/validity.js';
import { introduced } from './identity.js';

export type AnySession = Session | LegacySession;

/** Carries out what is answered by an outcome. */
export const carryOut = (
  context: DispatcherContext,
  session: AnySession,
  effect: Wanted,
): Promise<Outcome> => {
  const { clock, crypto, pairing } = context;
  const { id, expiresAt } = session;
  const csrSha256 = hex(crypto.sha256(session.csrDer));
  switch (effect.do) {
    case 'open': {
      const { code, nonce, joinAs } = effect;
      const opening = {
        id,
        code,
        expiresAt,
        csrSha256,
        at: clock.now(),
        ...(joinAs !== undefined && { joinAs }),
      };
      return outcomeOf(pairing.open(opening).map(() => ({ kind: 'opened', nonce })));
    }
    case 'sign':
      return sign(context, session, effect);
    case 'issue': {
      const { approval } = effect;
      const enrolment = enrolmentOf(context, session, effect);
      return outcomeOf(pairing.issue({ id, enrolment, csrSha256 }).map(() => ({ kind: 'issued', approval })));
    }
    case 'activate': {
      const spkiSha256 = hex(crypto.sha256(session.spki));
      const activation = { name: effect.name, spkiSha256, at: clock.now() };
      return outcomeOf(pairing.activate(activation).map(() => ({ kind: 'activated' })));
    }
  }
};

/** What the store would not do is an outcome that is told; that it failed is told to the log alone. */
const outcomeOf = (done: ResultAsync<Outcome, CtrlExecError>): Promise<Outcome> =>
  done.match(
    (outcome) => outcome,
    ({ code, message: reason }): Outcome =>
      code === 'store_failed' ? { kind: 'failed', reason } : { kind: 'refused', code, reason },
  );

async function sign(
  context: DispatcherContext,
  session: AnySession,
  { approval }: Wanted & { do: 'sign' },
): Promise<Outcome> {
  const shown: Result<Introduction, CtrlExecError> = await (session.version === 'v1'
    ? introduced(context)
    : okAsync(session.introduction));
  if (shown.isErr()) return { kind: 'failed', reason: shown.error.message };
  const profile = {
    kind: 'agent',
    /* defence: pairing-names-as-approved */ name: approval.name,
    // A legacy agent presents its certificate as a client, too.
    asClientToo: session.version === 'v1',
  } as const;
  return context.authority.issue(profile, session.spki, validFor(context, context.settings.certDays)).match(
    (certificate): Outcome => ({ kind: 'signed', approval, certificate, introduction: shown.value }),
    ({ message: reason }) => ({ kind: 'failed', reason }),
  );
}

/** What the registry gets to know. */
function enrolmentOf(
  { clock, crypto }: DispatcherContext,
  { version, ...applicant }: Applicant & Pick<AnySession, 'version'>,
  { approval, certificate, introduction }: Wanted & { do: 'issue' },
) {
  const { name, replace, ip = applicant.ip, port = applicant.port, lookupBy = applicant.lookupBy } = approval;
  const { serial, notAfter } = certificate;
  const serials = introduction.dispatchers.map((each) => each.serial);
  const caSet = caSetDigest(introduction.cas.map(({ der }) => hex(crypto.sha256(der))));
  const at = clock.now();
  return {
    name,
    endpoint: { host: applicant.host, ip, port, lookupBy },
    pin: { spkiSha256: hex(crypto.sha256(applicant.spki)), state: 'issued', serial, notAfter, issuedAt: at },
    pairing: version,
    replace,
    // An agent of version 1 is told of the present certificate alone.
    standing:
      version === 'v1' ? newStanding(serials.slice(0, 1), caSet) : newStanding(serials, caSet, 'signed'),
    at,
  } as const;
}
