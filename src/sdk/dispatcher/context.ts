import { err, ok, type Result, type ResultAsync } from 'neverthrow';
import { type Certificate, whyUnusable } from '../../domain/certificate.js';
import type { DispatcherSettings } from '../../domain/dispatcher-settings.js';
import { type CtrlExecError, failure } from '../../domain/errors.js';
import { splitCertificates } from '../../domain/pem.js';
import type { AuthHook } from '../../ports/auth-hook.js';
import type { CertificateAuthority } from '../../ports/certificate-authority.js';
import type { CertificateRequests } from '../../ports/certificate-requests.js';
import type { Clock } from '../../ports/clock.js';
import type { Crypto } from '../../ports/crypto.js';
import type { EventLog } from '../../ports/event-log.js';
import type { FileSystem } from '../../ports/file-system.js';
import type { JoinTokens } from '../../ports/join-tokens.js';
import type { KeyStore } from '../../ports/key-store.js';
import type { Listener } from '../../ports/listener.js';
import type { Locks } from '../../ports/locks.js';
import type { PairingQueue } from '../../ports/pairing-queue.js';
import type { Random } from '../../ports/random.js';
import type { Registry } from '../../ports/registry.js';
import type { RunStore } from '../../ports/run-store.js';
import type { Credentials, Transport } from '../../ports/transport.js';

/** Everything that a dispatcher's use cases stand on. */
export interface DispatcherPorts {
  readonly authority: CertificateAuthority;
  readonly certificateRequests: CertificateRequests;
  readonly clock: Clock;
  readonly crypto: Crypto;
  readonly events: EventLog;
  readonly files: FileSystem;
  readonly hook: AuthHook;
  readonly joinTokens: JoinTokens;
  readonly keyStore: KeyStore;
  readonly listener: Listener;
  readonly locks: Locks;
  readonly pairingQueue: PairingQueue;
  readonly random: Random;
  readonly registry: Registry;
  readonly runStore: RunStore;
  readonly transport: Transport;
}

export interface DispatcherContext extends DispatcherPorts {
  readonly settings: DispatcherSettings;
  /** Where the configuration is, and is written by `setupDispatcher`. */
  readonly configurationFile: string;
}

export interface DispatcherIdentity {
  readonly credentials: Credentials;
  readonly certificate: Certificate;
  /** CA certificates that agents must chain to, PEM. */
  readonly cas: readonly string[];
}

export type IdentityFailure = CtrlExecError<
  'identity_missing' | 'ca_missing' | 'certificate_invalid' | 'file_failed'
>;

/** The dispatcher's own key and certificate, and the CAs in force. */
export function loadIdentity(context: DispatcherContext): ResultAsync<DispatcherIdentity, IdentityFailure> {
  return context.keyStore
    .read(['dispatcher-key', 'dispatcher-certificate', 'ca-certificate'])
    .mapErr((error): IdentityFailure => error)
    .andThen((documents) => {
      const key = documents['dispatcher-key'];
      const certificate = documents['dispatcher-certificate'];
      const ca = documents['ca-certificate'];
      if (ca === undefined) return err(caMissing());
      if (key === undefined || certificate === undefined) return err(identityMissing());
      return context.crypto
        .readCertificate(certificate)
        .andThen((read): Result<DispatcherIdentity, IdentityFailure> => {
          const reason = whyUnusable(read, 'clientAuth', context.clock.now());
          if (reason === undefined)
            return ok({ credentials: { key, certificate }, certificate: read, cas: splitCertificates(ca) });
          const message = `the certificate of this dispatcher cannot be used: ${reason}`;
          return err(failure('certificate_invalid', message, { field: 'dispatcher-certificate', reason }));
        });
    });
}

const caMissing = (): CtrlExecError<'ca_missing'> =>
  failure('ca_missing', 'there is no CA yet: run `ctrl-exec setup-ca` first', {});

export const identityMissing = (): CtrlExecError<'identity_missing'> =>
  failure('identity_missing', 'this dispatcher has no identity yet: run `ctrl-exec setup-ctrl-exec` first', {
    role: 'dispatcher',
  });
