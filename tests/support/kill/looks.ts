import { createHash, createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A key and its certificate, as they lie on disk. */
interface Identity {
  readonly serial: string;
  /** SHA-256 of the public key, hex. */
  readonly spki: string;
  readonly certificate: X509Certificate;
}

const readIfThere = (path: string): string | undefined =>
  existsSync(path) ? readFileSync(path, 'utf8') : undefined;

/** Key and certificate that belong together, or neither. Throws when it is a mixture. */
function identityIn(home: string, key: string, certificate: string): Identity | undefined {
  const [keyPem, pem] = [readIfThere(join(home, key)), readIfThere(join(home, certificate))];
  if (keyPem === undefined && pem === undefined) return undefined;
  if (keyPem === undefined || pem === undefined)
    throw new Error(`a mixture: only ${keyPem === undefined ? certificate : key} is there`);
  const privateKey = createPrivateKey(keyPem);
  const read = new X509Certificate(pem);
  if (!read.checkPrivateKey(privateKey))
    throw new Error(`a mixture: ${key} and ${certificate} do not belong together`);
  const spki = createPublicKey(privateKey).export({ type: 'spki', format: 'der' });
  return {
    serial: read.serialNumber.toLowerCase(),
    spki: createHash('sha256').update(spki).digest('hex'),
    certificate: read,
  };
}

const requireIssuer = (name: string, identity: Identity, ca: X509Certificate): void => {
  if (!identity.certificate.checkIssued(ca) || !identity.certificate.verify(ca.publicKey))
    throw new Error(`a mixture: ${name} was not issued by the CA beside it`);
};

/** What a dispatcher's home holds. */
export interface DispatcherLook {
  readonly ca: Identity | undefined;
  /** The identity and the one of the pairing port. */
  readonly own: readonly [Identity, Identity] | undefined;
}

/** Looks at a dispatcher's files; throws when they are of several changes. */
export function lookAtDispatcher(home: string): DispatcherLook {
  const ca = identityIn(home, 'ca.key', 'ca.crt');
  const identity = identityIn(home, 'ctrl-exec.key', 'ctrl-exec.crt');
  const pairing = identityIn(home, 'pairing.key', 'pairing.crt');
  if (identity === undefined && pairing === undefined) return { ca, own: undefined };
  if (identity === undefined || pairing === undefined || ca === undefined)
    throw new Error('a mixture: identity, pairing identity and CA are not all there');
  requireIssuer('the identity', identity, ca.certificate);
  requireIssuer('the pairing identity', pairing, ca.certificate);
  return { ca, own: [identity, pairing] };
}

/** What an agent's home holds of a pairing. */
export interface AgentLook {
  readonly identity: Identity;
  /** Fingerprint of the CA. */
  readonly ca: string;
  /** Serials of trusted dispatchers. */
  readonly trusted: readonly string[];
}

/** Looks at an agent's files; undefined when it is not paired; throws when they are of several pairings. */
export function lookAtAgent(home: string): AgentLook | undefined {
  const identity = identityIn(home, 'agent.key', 'agent.crt');
  const ca = readIfThere(join(home, 'ca.crt'));
  const trust = readIfThere(join(home, 'state/ctrl-exec-dispatchers'));
  if (identity === undefined && ca === undefined && trust === undefined) return undefined;
  if (identity === undefined || ca === undefined || trust === undefined)
    throw new Error('a mixture: identity, CA and trusted dispatchers are not all there');
  const authority = new X509Certificate(ca);
  requireIssuer('the identity', identity, authority);
  return {
    identity,
    ca: authority.fingerprint256,
    trusted: trust.toLowerCase().match(/\b[0-9a-f]{16,40}\b/g) ?? [],
  };
}

/** Whether a change was committed that nobody has completed yet: then it is the journal that counts. */
export const isInterrupted = (home: string): boolean => existsSync(join(home, 'state/identity.journal'));

/** Every file below a directory that should be gone once a command has ended: temporary files, the identity journal, locks. */
export function leftovers(home: string): string[] {
  return readdirSync(home, { recursive: true, withFileTypes: true })
    .map((entry) => join(entry.parentPath, entry.name).slice(home.length + 1))
    .filter((name) => /\.tmp-|identity\.journal|owner-.*\.db|-wal$|-shm$/.test(name))
    .sort();
}
