import { errAsync, okAsync, type ResultAsync } from 'neverthrow';
import { hex } from '../../../domain/core/bytes.js';
import { editConfiguration } from '../../../domain/core/configuration.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import type { DispatcherContext } from '../context.js';
import { caDays, validFor } from './validity.js';

/** SHA-256 of a certificate's DER as hex pairs with colons, as people compare it. */
export const fingerprint = (context: DispatcherContext, certificate: Certificate): string =>
  (hex(context.crypto.sha256(certificate.der)).match(/../g) ?? []).join(':').toUpperCase();

/** The private CA. */
export interface CaSummary {
  /** SHA-256 of the DER, upper-case hex pairs with colons. */
  readonly fingerprint: string;
  /** Epoch milliseconds. */
  readonly notAfter: number;
}

/** Creates the private CA. Never overwrites one: `ca_exists`. */
export function setupCa(
  context: DispatcherContext,
): ResultAsync<CaSummary, CtrlExecError<'ca_exists' | 'crypto_failed' | 'file_failed'>> {
  return context.authority.create(validFor(context, caDays)).map((ca) => {
    const summary = { fingerprint: fingerprint(context, ca), notAfter: ca.notAfter };
    context.events.emit({
      action: 'ca-created',
      fields: { serial: ca.serial, fingerprint: summary.fingerprint },
    });
    return summary;
  });
}

/** The CAs in force; where there is none, the error says what to run. */
const authorityCertificates = ({ authority }: DispatcherContext) =>
  authority
    .certificates()
    .mapErr((error) =>
      error.code === 'ca_missing'
        ? failure('ca_missing', `${error.message}: run \`ctrl-exec setup-ca\` first`, {})
        : error,
    );

/** The fingerprint of the CA in force. */
export function caSummary(
  context: DispatcherContext,
): ResultAsync<CaSummary, CtrlExecError<'ca_missing' | 'certificate_invalid' | 'file_failed'>> {
  return authorityCertificates(context).andThen(([current]) =>
    current
      ? okAsync({ fingerprint: fingerprint(context, current), notAfter: current.notAfter })
      : errAsync(noCaCertificate()),
  );
}

export const noCaCertificate = () =>
  failure('certificate_invalid', 'the CA certificate file holds no certificate', {
    field: 'ca',
    reason: 'empty',
  });

/** What an existing identity means for setting up. */
export interface SetupDispatcherOptions {
  /** Replace an existing identity. Default false: `identity_exists`. */
  readonly replace?: boolean;
  /** Replace it although agents are registered, which will then not know it any more. Default false. */
  readonly force?: boolean;
}

/** This dispatcher's identity. */
export interface DispatcherSummary {
  readonly dispatcherId: string;
  readonly serial: string;
  /** Epoch milliseconds. */
  readonly notAfter: number;
}

type SetupFailure = CtrlExecError<
  'ca_missing' | 'certificate_invalid' | 'crypto_failed' | 'file_failed' | 'identity_exists' | 'store_failed'
>;

/**
 * Creates the dispatcher's identity and the separate one of the pairing port, and writes `dispatcher_id` into the
 * configuration, so that a later change of the host name changes nothing.
 */
export function setupDispatcher(
  context: DispatcherContext,
  options: SetupDispatcherOptions = {},
): ResultAsync<DispatcherSummary, SetupFailure> {
  const { keyStore, crypto, authority, settings } = context;
  const { dispatcherId } = settings;
  return authorityCertificates(context)
    .mapErr((error): SetupFailure => error)
    .andThen(() => mayReplace(context, options))
    .andThen(() => writeDispatcherId(context))
    .andThen(() => crypto.generateKey(settings.keyType))
    .andThen((key) => crypto.generateKey('p256').map((pairingKey) => ({ key, pairingKey })))
    .andThen(({ key, pairingKey }) =>
      crypto
        .signingKey(key)
        .asyncAndThen(({ spki }) =>
          authority.issue({ kind: 'dispatcher', dispatcherId }, spki, validFor(context, settings.certDays)),
        )
        .andThen((certificate) =>
          issuePairing(context, pairingKey).andThen((pairing) =>
            keyStore
              .replace(
                {
                  'dispatcher-key': key,
                  'dispatcher-certificate': certificate.pem,
                  'pairing-key': pairingKey,
                  'pairing-certificate': pairing.pem,
                  // A new beginning: nothing leads from what was before to this identity.
                  'dispatcher-next-key': null,
                  'dispatcher-next-certificate': null,
                  'dispatcher-previous-key': null,
                  'dispatcher-previous-certificate': null,
                  rotation: null,
                },
                { onlyIfAbsent: !options.replace },
              )
              .map(() => certificate),
          ),
        ),
    )
    .map(({ serial, notAfter }) => {
      context.events.emit({ action: 'identity-created', fields: { dispatcher: dispatcherId, serial } });
      return { dispatcherId, serial, notAfter };
    });
}

export const issuePairing = (context: DispatcherContext, key: string) =>
  context.crypto
    .signingKey(key)
    .asyncAndThen(({ spki }) =>
      context.authority.issue(
        { kind: 'pairing', dispatcherId: context.settings.dispatcherId },
        spki,
        validFor(context, context.settings.certDays),
      ),
    );

/** Issues the pairing port's identity anew. */
export function issuePairingIdentity(
  context: DispatcherContext,
): ResultAsync<
  void,
  CtrlExecError<'ca_missing' | 'certificate_invalid' | 'crypto_failed' | 'file_failed' | 'identity_exists'>
> {
  return context.crypto
    .generateKey('p256')
    .andThen((key) => issuePairing(context, key).map(({ pem }) => ({ key, pem })))
    .andThen(({ key, pem }) => context.keyStore.replace({ 'pairing-key': key, 'pairing-certificate': pem }));
}

function mayReplace(
  context: DispatcherContext,
  options: SetupDispatcherOptions,
): ResultAsync<void, SetupFailure> {
  return context.keyStore
    .read(['dispatcher-certificate'])
    .mapErr((error): SetupFailure => error)
    .andThen((documents) => {
      if (documents['dispatcher-certificate'] === undefined) return okAsync(undefined);
      if (!options.replace)
        return errAsync(
          failure('identity_exists', 'this dispatcher has an identity already; replacing it needs --yes', {
            reason: 'exists',
          }),
        );
      return context.registry
        .list()
        .andThen((agents) =>
          agents.length > 0 && !options.force
            ? errAsync(
                failure(
                  'identity_exists',
                  `${agents.length} registered agents trust the present identity: use rotate-cert (--force replaces it all the same)`,
                  { reason: 'agents registered' },
                ),
              )
            : okAsync(undefined),
        );
    });
}

function writeDispatcherId(context: DispatcherContext): ResultAsync<void, SetupFailure> {
  const { files, settings, configurationFile } = context;
  if (settings.dispatcherIdConfigured) return okAsync(undefined);
  return files
    .readText(configurationFile, 1024 * 1024)
    .andThen((text) =>
      files.replace(
        configurationFile,
        editConfiguration(text ?? '', 'dispatcher_id', settings.dispatcherId),
        0o644,
      ),
    );
}
