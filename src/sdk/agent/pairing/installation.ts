import { err, ok, type Result, type ResultAsync, safeTry } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { dispatcherId as dispatcherName, legacyDispatcherId } from '../../../domain/core/names.js';
import { splitCertificates } from '../../../domain/core/pem.js';
import type { AgentSettings } from '../../../domain/settings/agent.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import type { KeyStoreContents } from '../../../ports/key-store.js';
import type { AgentContext } from '../context.js';
import { endorsedBy } from '../trust/endorsed.js';
import {
  readTrustLines,
  type StoredTrust,
  trustItems,
  withLine,
  writeTrustLines,
} from '../trust/trust-lines.js';
import type { WhomToTrust } from './judgement.js';
import type { ChosenKey } from './key.js';

/** What a pairing installs, at once or not at all. */
export const identityItems = ['agent-key', 'agent-certificate', 'ca-certificate', ...trustItems] as const;
export type Identity = KeyStoreContents<(typeof identityItems)[number]>;

/** The CAs that this host accepts after a pairing. */
interface CasAfterwards {
  /** Whether the present identity goes on, and only gets a further dispatcher. */
  readonly kept: boolean;
  /** PEM. */
  readonly text: string;
}

/**
 * Which CAs this host accepts after a pairing.
 *
 * A host that is paired goes on accepting all of its CAs. Each certificate that the pairing installs must be of one of them, or
 * of a CA that one of them vouches for (`endorsedBy`), which is then accepted as well; that the other side also lists a CA that is
 * accepted here says nothing about the others. Where a certificate is of any other CA, the present identity would have to be given
 * up: with `replace` it is, and nothing of it is trusted any more; without, `identity_exists`. A host that is not paired accepts
 * the CAs in `whom` that issued one of the certificates, or all of them where a fingerprint vouches for each.
 * @param held the CAs that are accepted now, PEM; undefined: the host is not paired
 * @param certificates what is to be installed: of the dispatcher and, once it is known, of this host
 */
export function casAfterwards(
  { crypto }: Pick<AgentContext, 'crypto'>,
  held: string | undefined,
  whom: Pick<WhomToTrust, 'cas' | 'casAreKnown' | 'endorsements'>,
  certificates: readonly Certificate[],
  replace: boolean,
): Result<CasAfterwards, CtrlExecError> {
  const issued = (ca: Certificate) => certificates.some((each) => crypto.issuedBy(each, ca));
  const wanted = (ca: Certificate) => whom.casAreKnown || issued(ca);
  if (held !== undefined) {
    const present = splitCertificates(held);
    const accepted = present.flatMap((pem) => crypto.readCertificate(pem).unwrapOr([]));
    const isAccepted = ({ der }: Certificate) => accepted.some((ca) => crypto.equal(ca.der, der));
    const endorsed = endorsedBy(crypto, accepted, whom.cas, whom.endorsements);
    const further = endorsed.filter((ca) => !isAccepted(ca) && wanted(ca));
    const kept = /* defence: pairing-keeps-to-accepted-cas */ certificates.every((each) =>
      [...accepted, ...further].some((ca) => crypto.issuedBy(each, ca)),
    );
    if (kept) return ok({ kept, text: [...present, ...further.map(({ pem }) => pem)].join('') });
    if (!replace) return err(anotherCa());
  }
  return ok({
    kept: false,
    text: whom.cas
      .filter(wanted)
      .map(({ pem }) => pem)
      .join(''),
  });
}

const anotherCa = () =>
  failure(
    'identity_exists',
    'this host is paired under another CA, which does not vouch for the one of this dispatcher: --replace gives that identity up',
    { reason: 'another CA' },
  );

/**
 * The trust lines with those of the dispatcher, which nobody but this pairing has brought. A serial that is trusted without an id,
 * or that another dispatcher claimed without a proof, becomes its own.
 * @param signs whether the dispatcher is one of ours: then its certificates are kept, and it must sign
 */
function trustWith(
  stored: StoredTrust,
  { serials, dispatcherId, dispatchers }: WhomToTrust,
  signs: boolean,
): Result<StoredTrust, CtrlExecError> {
  const signed = [...stored.lines].flatMap(([serial, id]) =>
    id === dispatcherId && stored.dispatchers.has(serial) ? serial : [],
  );
  if (!signs && signed.length > 0) return err(hasSigned(dispatcherId, signed));
  let next = stored;
  for (const serial of serials) {
    const certificate = signs ? dispatchers.find((each) => each.serial === serial) : undefined;
    const line = stored.lines.get(serial) ?? legacyDispatcherId;
    const free = line === legacyDispatcherId || line === dispatcherId;
    if (!free && (!certificate || stored.dispatchers.has(serial))) return err(isOfAnother(serial, line));
    next = withLine(next, serial, dispatcherId, {
      ...(certificate && { certificate }),
      broughtBy: undefined,
    });
  }
  return ok(next);
}

/** What a pairing has brought, and what of the present identity goes on. */
export interface Installation {
  readonly key: ChosenKey;
  /** Whether an identity under another CA is given up; see `casAfterwards`. */
  readonly replace: boolean;
  readonly certificate: Certificate;
  readonly whom: WhomToTrust;
  /** Whether the dispatcher is one of ours: then it must sign from its first request on. */
  readonly signs: boolean;
}

/**
 * Installs key, certificate, CAs and trust at once or nothing.
 * @param present as it was when the pairing began
 */
export function install(
  context: AgentContext,
  settings: AgentSettings,
  present: Identity,
  { key, replace, certificate, whom, signs }: Installation,
): ResultAsync<void, CtrlExecError> {
  const keyStore = context.keyStore(settings);
  return safeTry(async function* () {
    // Read again: minutes have passed, and a rotation, a renewal or a person may have changed it.
    const latest = yield* keyStore.read(identityItems);
    const installed = [certificate, ...whom.dispatchers];
    const { kept, text } = yield* casAfterwards(context, latest['ca-certificate'], whom, installed, replace);
    if (kept && !key.fresh && latest['agent-key'] !== present['agent-key']) return err(renewedMeanwhile());
    if (signs) yield* dispatcherName(whom.dispatcherId);
    const stored = readTrustLines(context, kept ? latest : noTrust);
    const trust = yield* trustWith(stored, whom, signs);
    yield* keyStore.replace({
      'agent-key': key.pem,
      'agent-certificate': certificate.pem,
      'ca-certificate': text,
      ...writeTrustLines(trust),
      // Those of another CA mean nothing under this one, and could not be read.
      ...(!kept && { 'agent-revocation-lists': null }),
    });
    if (key.fresh) await beginReplayRecord(context, settings);
    return ok(undefined);
  });
}

const noTrust = {
  'trusted-dispatchers': undefined,
  'dispatcher-certificates': undefined,
  'trust-origins': undefined,
  'signing-dispatchers': undefined,
};

const hasSigned = (name: string, serials: readonly string[]) =>
  failure(
    'downgrade_refused',
    `dispatcher ${name} signs its requests (serial ${serials.join(', ')}), and this one does not: nothing was installed. Pair by version 2; if ${name} is a legacy dispatcher again, say so first: ${serials.map((serial) => `ctrl-exec-agent trust --unsigned ${serial}`).join('; ')}`,
    { name },
  );

const isOfAnother = (serial: string, id: string) =>
  failure(
    'certificate_invalid',
    `what the dispatcher sent cannot be trusted: serial ${serial} is trusted here as the one of dispatcher ${id}. Nothing was installed`,
    { field: 'dispatcher_serial', reason: 'belongs to another dispatcher' },
  );

const renewedMeanwhile = () =>
  failure(
    'identity_exists',
    'the key of this host was renewed while it was pairing: nothing was installed, pair again',
    { reason: 'renewed meanwhile' },
  );

/**
 * Nothing can have been signed for a key that has just been made. Where that cannot be noted the agent refuses requests for
 * its first half minute, and says why.
 */
export async function beginReplayRecord(context: AgentContext, settings: AgentSettings): Promise<void> {
  const record = context.journal(settings);
  const begun = await record.begin();
  if (begun.isErr())
    context.events.emit({ action: 'warning', level: 'warning', fields: { reason: begun.error.message } });
  await record.close();
}

/** Whether there is a record of requests that can be relied on. */
export async function hasReplayRecord(context: AgentContext, settings: AgentSettings): Promise<boolean> {
  const record = context.journal(settings);
  const complete = await record.complete();
  await record.close();
  return complete.unwrapOr(false);
}
