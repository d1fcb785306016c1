import { err, ok, type Result, type ResultAsync, safeTry } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { splitCertificates } from '../../../domain/core/pem.js';
import type { AgentSettings } from '../../../domain/settings/agent.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import {
  addTrust,
  formatTrust,
  legacyDispatcherId,
  parseTrust,
  type TrustEntry,
} from '../../../domain/trust/trusted-dispatchers.js';
import type { KeyStoreContents } from '../../../ports/key-store.js';
import type { AgentContext } from '../context.js';
import { formatSigning, parseSigning } from '../trust/trust.js';
import type { WhomToTrust } from './judgement.js';
import type { ChosenKey } from './key.js';

/** What a pairing installs, at once or not at all. */
export const identityItems = [
  'agent-key',
  'agent-certificate',
  'ca-certificate',
  'trusted-dispatchers',
  'dispatcher-certificates',
  'signing-dispatchers',
] as const;
export type Identity = KeyStoreContents<(typeof identityItems)[number]>;

/**
 * Whether the present identity is of the same CA: then its CAs stay as they are, and a further dispatcher is trusted.
 */
export function mayInstall(
  context: AgentContext,
  present: Identity,
  { cas }: WhomToTrust,
  replace: boolean,
): Result<boolean, CtrlExecError> {
  const held = present['ca-certificate'];
  if (held === undefined) return ok(false);
  const same = splitCertificates(held).some((pem) =>
    context.crypto.readCertificate(pem).match(
      ({ der }) => cas.some((ca) => context.crypto.equal(ca.der, der)),
      () => false,
    ),
  );
  if (same || replace) return ok(same);
  return err(
    failure('identity_exists', 'this host is paired under another CA: --replace gives that identity up', {
      reason: 'another CA',
    }),
  );
}

/** Of what the dispatcher sent, the CAs that issued something here; others are nobody's business. */
const neededCas = (
  { crypto }: AgentContext,
  { cas, dispatchers }: WhomToTrust,
  own: Certificate,
): readonly string[] =>
  cas
    .filter((ca) => [own, ...dispatchers].some((certificate) => crypto.issuedBy(certificate, ca)))
    .map(({ pem }) => pem);

/** Those that are accepted already, and those that are needed: while a CA is being replaced, that may be another one. */
function casText(present: string, needed: readonly string[]): string {
  const kept = splitCertificates(present);
  return [...kept, ...needed.filter((pem) => !kept.includes(pem))].join('');
}

/** A serial that was trusted without a name, as 0.8 has it, gets the one of its dispatcher. */
function trustText(present: string, { serials, dispatcherId }: WhomToTrust): string {
  const named = parseTrust(present).entries.filter(
    (entry) => entry.dispatcherId !== legacyDispatcherId || !serials.includes(entry.serial),
  );
  return formatTrust(
    serials.reduce<readonly TrustEntry[]>(
      (trust, serial) => addTrust(trust, { serial, dispatcherId }),
      named,
    ),
  );
}

/** The certificates behind the trust lines: what their keys sign later is judged by them. */
function certificatesText(present: string, { dispatchers }: WhomToTrust): string {
  const kept = splitCertificates(present).filter((pem) => !dispatchers.some((each) => each.pem === pem));
  return [...kept, ...dispatchers.map(({ pem }) => pem)].join('');
}

/** Null: none of them signs. */
function signingText(present: string, id: string, signs: boolean): string | null {
  const known = parseSigning(present);
  const text = signs && !known.has(id) ? formatSigning(known, id) : present;
  return text === '' ? null : text;
}

/** What a pairing has brought, and what of the present identity goes on. */
export interface Installation {
  readonly key: ChosenKey;
  /** Whether the present identity is of the same CA; see `mayInstall`. */
  readonly kept: boolean;
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
  { key, kept, certificate, whom, signs }: Installation,
): ResultAsync<void, CtrlExecError> {
  const keyStore = context.keyStore(settings);
  return safeTry(async function* () {
    // Read again: minutes have passed, and a rotation, a renewal or a person may have changed it.
    const latest = yield* keyStore.read(identityItems);
    if (kept && !key.fresh && latest['agent-key'] !== present['agent-key']) return err(renewedMeanwhile());
    const { dispatcherId } = whom;
    if (kept && !signs && parseSigning(latest['signing-dispatchers']).has(dispatcherId))
      return err(hasSigned(dispatcherId));
    yield* keyStore.replace({
      'agent-key': key.pem,
      'agent-certificate': certificate.pem,
      'ca-certificate': casText(
        kept ? (latest['ca-certificate'] ?? '') : '',
        neededCas(context, whom, certificate),
      ),
      'trusted-dispatchers': trustText(kept ? (latest['trusted-dispatchers'] ?? '') : '', whom),
      'dispatcher-certificates': certificatesText(
        kept ? (latest['dispatcher-certificates'] ?? '') : '',
        whom,
      ),
      'signing-dispatchers': signingText(
        kept ? (latest['signing-dispatchers'] ?? '') : '',
        dispatcherId,
        signs,
      ),
      // Those of another CA mean nothing under this one, and could not be read.
      ...(!kept && { 'agent-revocation-lists': null }),
    });
    if (key.fresh) await beginReplayRecord(context, settings);
    return ok(undefined);
  });
}

const hasSigned = (name: string) =>
  failure(
    'downgrade_refused',
    `dispatcher ${name} has signed before, and this one does not: nothing was installed. Pair by version 2; if it is a legacy dispatcher again, take its line out of signing-dispatchers first`,
    { name },
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
  const record = context.replayCache(settings);
  const begun = await record.begin();
  if (begun.isErr())
    context.events.emit({ action: 'warning', level: 'warning', fields: { reason: begun.error.message } });
  await record.close();
}

/** Whether there is a record of requests that can be relied on. */
export async function hasReplayRecord(context: AgentContext, settings: AgentSettings): Promise<boolean> {
  const record = context.replayCache(settings);
  const complete = await record.complete();
  await record.close();
  return complete.unwrapOr(false);
}
