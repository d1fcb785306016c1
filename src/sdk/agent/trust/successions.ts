import { err, ok, type Result } from 'neverthrow';
import { legacyDispatcherId } from '../../../domain/core/names.js';
import { type Certificate, dispatcherIdOf, isDispatcherOf } from '../../../domain/trust/certificate.js';
import { lineTo, type Succession, successionMessage } from '../../../domain/trust/succession.js';
import type { Crypto } from '../../../ports/crypto.js';
import type { AgentTrust } from './trust.js';

type State = Pick<AgentTrust, 'dispatchers' | 'lines' | 'revoked'>;

/** Where an unbroken chain of signed steps leads to, or where it breaks. */
function endOf(
  crypto: Crypto,
  from: Certificate,
  chain: readonly Succession[],
): Result<readonly Certificate[], string> {
  const certificates: Certificate[] = [];
  let holder = from;
  for (const step of chain) {
    if (step.old !== holder.serial) return err(`the chain is broken at ${step.old}`);
    const next = crypto.readCertificate(step.newPem);
    if (next.isErr() || next.value.serial !== step.new) return err(`no certificate of ${step.new}`);
    // defence: succession-is-signed
    if (!crypto.verify(holder.spki, successionMessage(step, next.value.der), step.sig))
      return err(`${step.new} is not signed by ${step.old}`);
    holder = next.value;
    certificates.push(holder);
  }
  return ok(certificates);
}

/** Whom a chain of successions brings. */
export interface Successor {
  readonly dispatcherId: string;
  /** The trusted serial where the chain begins. */
  readonly follows: string;
  /** The chain has a step that joins: it comes beside the one that it follows. */
  readonly joins: boolean;
}

/**
 * Whom a stranger proves to be by a chain of successions (wire-protocol 2.4), or why it proves nothing. The chain begins at a
 * serial that is trusted here, or was trusted until it was revoked, and ends at the stranger's certificate, which names the same
 * dispatcher. Steps before the last serial that is known here do not count: a dispatcher need not know which that is.
 */
export function follow(
  { crypto }: { readonly crypto: Crypto },
  { lines, dispatchers, revoked }: State,
  steps: readonly Succession[],
  certificate: Certificate,
): Result<Successor, string> {
  const chain = steps.slice(
    Math.max(
      0,
      steps.findLastIndex(({ old }) => dispatchers.has(old)),
    ),
  );
  const [first] = chain;
  const line = first && lines.get(first.old);
  const holder = first && dispatchers.get(first.old);
  if (!first || line === undefined) return err('the chain does not begin at a trusted serial');
  if (!holder) return err(`the key of ${first.old} is not known here`);
  const named = certificate.uris.map(dispatcherIdOf).find((each) => each !== undefined);
  const dispatcherId = line === legacyDispatcherId ? named : line;
  if (dispatcherId === undefined) return err('its certificate names no dispatcher');
  // A serial that is trusted without an id cannot say which dispatcher may follow it once it is revoked.
  const mustLive = line === legacyDispatcherId ? [first.old, ...chain.map((step) => step.new)] : [];
  // defence: succession-has-no-revoked-serial
  const dead = [...mustLive, certificate.serial].find((serial) => revoked.has(serial));
  if (dead !== undefined) return err(`serial ${dead} is revoked`);
  return endOf(crypto, holder, chain).andThen((certificates): Result<Successor, string> => {
    // defence: succession-keeps-dispatcher
    const other = certificates.find((each) => !isDispatcherOf(each, dispatcherId));
    if (other) return err(`${other.serial} is not of ${dispatcherId}`);
    const last = certificates.at(-1);
    return /* defence: succession-ends-at-asker */ last && crypto.equal(last.der, certificate.der)
      ? ok({ dispatcherId, follows: first.old, joins: chain.some(({ joins }) => joins === true) })
      : err('it ends at another certificate');
  });
}

/** Whether these records show that `certificate` replaces the trusted serial `former`. A step that joins replaces nothing. */
export function recordsReplace(
  { crypto }: { readonly crypto: Crypto },
  { dispatchers }: Pick<State, 'dispatchers'>,
  records: readonly Succession[],
  { certificate, former }: { readonly certificate: Certificate; readonly former: string },
): boolean {
  const replacing = records.filter(/* defence: joined-serial-replaces-nothing */ ({ joins }) => !joins);
  const line = lineTo(replacing, certificate.serial);
  const begin = line.findIndex(({ old }) => old === former);
  const from = dispatchers.get(former);
  if (begin < 0 || !from) return false;
  const end = endOf(crypto, from, line.slice(begin)).unwrapOr([]).at(-1);
  return end !== undefined && crypto.equal(end.der, certificate.der);
}
