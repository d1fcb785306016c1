import { err, ok, type Result } from 'neverthrow';
import type { AgentSettings } from '../../domain/agent-settings.js';
import type { Certificate } from '../../domain/certificate.js';
import { type CtrlExecError, failure } from '../../domain/errors.js';
import { splitCertificates } from '../../domain/pem.js';
import { addTrust, formatTrust, parseTrust } from '../../domain/trust.js';
import type { KeyStoreContents } from '../../ports/key-store.js';
import type { AgentContext } from './context.js';
import type { DispatcherIntroduction } from './pairing-judgement.js';

/** What a pairing installs, at once or not at all. */
export const identityItems = [
  'agent-key',
  'agent-certificate',
  'ca-certificate',
  'trusted-dispatchers',
  'dispatcher-certificates',
] as const;
type Identity = KeyStoreContents<(typeof identityItems)[number]>;

/**
 * Whether the present identity is of the same CA: then its CAs stay as they are, and a further dispatcher is trusted.
 */
export function mayInstall(
  context: AgentContext,
  present: Identity,
  { cas }: DispatcherIntroduction,
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
export const neededCas = (
  { crypto }: AgentContext,
  { cas, dispatchers }: DispatcherIntroduction,
  own: Certificate,
): readonly string[] =>
  cas
    .filter((ca) => [own, ...dispatchers].some((certificate) => crypto.issuedBy(certificate, ca)))
    .map(({ pem }) => pem);

/** Those that are accepted already, and those that are needed: while a CA is being replaced, that may be another one. */
export function casText(present: string, needed: readonly string[]): string {
  const kept = splitCertificates(present);
  return [...kept, ...needed.filter((pem) => !kept.includes(pem))].join('');
}

export const trustText = (present: string, { dispatchers, dispatcherId }: DispatcherIntroduction): string =>
  formatTrust(
    dispatchers.reduce(
      (trust, { serial }) => addTrust(trust, { serial, dispatcherId }),
      parseTrust(present).entries,
    ),
  );

/** The certificates behind the trust lines: what their keys sign later is judged by them. */
export function certificatesText(present: string, { dispatchers }: DispatcherIntroduction): string {
  const kept = splitCertificates(present).filter((pem) => !dispatchers.some((each) => each.pem === pem));
  return [...kept, ...dispatchers.map(({ pem }) => pem)].join('');
}

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
