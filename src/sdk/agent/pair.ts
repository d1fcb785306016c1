import { err, ok, type Result, type ResultAsync, safeTry } from 'neverthrow';
import type { AgentSettings } from '../../domain/agent-settings.js';
import { base64url, hex } from '../../domain/bytes.js';
import type { Certificate } from '../../domain/certificate.js';
import { type CtrlExecError, failure } from '../../domain/errors.js';
import { agentName } from '../../domain/names.js';
import { sessionSeconds } from '../../domain/pairing-messages.js';
import {
  commitment,
  confirmMessage,
  installedMessage,
  pairingCode,
  transcriptHash,
} from '../../domain/pairing-transcript.js';
import { splitCertificates } from '../../domain/pem.js';
import { addTrust, formatTrust, parseTrust } from '../../domain/trust.js';
import type { SigningKey } from '../../ports/crypto.js';
import type { KeyStoreContents } from '../../ports/key-store.js';
import { wait } from '../wait.js';
import type { AgentContext } from './context.js';
import { openPairingConnection, type PairingConnection } from './pairing-connection.js';
import {
  type DispatcherIntroduction,
  judgeFingerprint,
  judgeIntroduction,
  judgeIssued,
} from './pairing-judgement.js';

/** How the agent's side knows that it speaks with the right dispatcher. */
export type PairingTrust =
  /** People compare the codes: `confirm` resolves to whether they match. */
  | { readonly kind: 'compare'; readonly confirm: (code: PairingCode) => Promise<boolean> }
  /** SHA-256 of the CA's DER, hex with or without colons, as `setup-ca` printed it. */
  | { readonly kind: 'ca-sha256'; readonly fingerprint: string };

/** What people compare, on both hosts. */
export interface PairingCode {
  /** Six digits. */
  readonly code: string;
  /** Session id in hex, as `list-requests` shows it. */
  readonly request: string;
  /** As the dispatcher names itself; proven only by the comparison. */
  readonly dispatcherId: string;
}

export interface PairingOptions {
  /** Host name or address of the dispatcher. */
  readonly dispatcher: string;
  /** Default: 7444. */
  readonly port?: number;
  /** How the dispatcher shall reach this host. Default: `hostname`. */
  readonly lookupBy?: 'hostname' | 'ip';
  /** The name to ask for. Default: this host's name. */
  readonly hostName?: string;
  /** The operational port to register. Default: `port` of the configuration. */
  readonly agentPort?: number;
  readonly trust: PairingTrust;
  /** Told the code as soon as it is known. */
  readonly onCode?: (code: PairingCode) => void;
  /** Make a new key although there is one. Default false. */
  readonly newKey?: boolean;
  /** Give up an identity under another CA. Default false: `identity_exists`. */
  readonly replace?: boolean;
  readonly signal?: AbortSignal;
}

export interface Paired {
  /** The name in the dispatcher's registry. */
  readonly name: string;
  readonly dispatcherId: string;
  readonly code: string;
  readonly serial: string;
  /** Epoch milliseconds. */
  readonly notAfter: number;
}

const identityItems = ['agent-key', 'agent-certificate', 'ca-certificate', 'trusted-dispatchers'] as const;
type Identity = KeyStoreContents<(typeof identityItems)[number]>;

/** Attempts at telling the dispatcher that all is installed; its first connection to the new key tells it as well. */
const installedAttempts = 3;

/**
 * Pairs this host with a dispatcher (wire-protocol 2.2). Checks that it can write before it connects; installs key,
 * certificate, CA and trust at once or nothing. Err: `pairing_denied`, `pairing_expired`, `codes_differ`,
 * `wrong_identity`, `identity_exists`, and what a connection or the disk can meet.
 */
export function pair(
  context: AgentContext,
  settings: AgentSettings,
  options: PairingOptions,
): ResultAsync<Paired, CtrlExecError> {
  const keyStore = context.keyStore(settings);
  return safeTry(async function* () {
    yield* keyStore.checkWritable(identityItems);
    const present = yield* keyStore.read(identityItems);
    const host = yield* agentName(options.hostName ?? context.hostName);
    const key = yield* chooseKey(context, present['agent-key'], options.newKey ?? false);
    const connection = openPairingConnection(context, options);

    const introduction = yield* introduce(context, settings, options, connection, host, key.pem);
    const kept = yield* mayInstall(context, present, introduction, options.replace ?? false);
    const session = yield* compare(context, options, connection, introduction, host);
    const { name, certificate } = yield* fetchCertificate(
      context,
      connection,
      introduction,
      session,
      key.signing,
      options,
    );

    yield* keyStore.replace({
      'agent-key': key.pem,
      'agent-certificate': certificate.pem,
      'ca-certificate': introduction.cas.map(({ pem }) => pem).join(''),
      'trusted-dispatchers': trustText(kept, introduction),
    });
    await reportInstalled(context, connection, introduction, session, certificate, key.signing);
    const { serial, notAfter } = certificate;
    const { dispatcherId } = introduction;
    context.events.emit({ action: 'paired', fields: { host: name, dispatcher: dispatcherId, serial } });
    return ok({ name, dispatcherId, code: session.code, serial, notAfter });
  });
}

function chooseKey(
  context: AgentContext,
  present: string | undefined,
  fresh: boolean,
): ResultAsync<{ pem: string; signing: SigningKey }, CtrlExecError> {
  return safeTry(async function* () {
    const pem = present === undefined || fresh ? yield* context.crypto.generateKey('p256') : present;
    return ok({ pem, signing: yield* context.crypto.signingKey(pem) });
  });
}

/** M1 and M2: who the dispatcher claims to be, judged by itself and, where one is given, by the fingerprint. */
function introduce(
  context: AgentContext,
  settings: AgentSettings,
  options: PairingOptions,
  connection: PairingConnection,
  host: string,
  keyPem: string,
): ResultAsync<DispatcherIntroduction & { readonly csrDer: Uint8Array }, CtrlExecError> {
  return safeTry(async function* () {
    const csrPem = yield* context.certificateRequests.create(keyPem, host);
    const csr = yield* context.certificateRequests.read(csrPem);
    const started = yield* connection.send('start', 'started', {
      v: 2,
      offer: [2],
      host,
      csr_pem: csrPem,
      port: options.agentPort ?? settings.port,
      lookup_by: options.lookupBy ?? 'hostname',
    });
    const introduction = yield* judgeIntroduction(context, started);
    if (options.trust.kind === 'ca-sha256')
      yield* judgeFingerprint(context, introduction, connection.leaf(), options.trust.fingerprint);
    return ok({ ...introduction, csrDer: csr.der });
  });
}

interface Session {
  readonly th: Uint8Array;
  readonly agentNonce: Uint8Array;
  readonly dispatcherNonce: Uint8Array;
  readonly code: string;
}

/** M3 and M4: the code, shown and, where people are the judges, confirmed by them. */
function compare(
  context: AgentContext,
  { onCode, trust }: PairingOptions,
  connection: PairingConnection,
  introduction: DispatcherIntroduction & { readonly csrDer: Uint8Array },
  host: string,
): ResultAsync<Session, CtrlExecError> {
  const { crypto, random } = context;
  const { session, cas, dispatchers, commit, dispatcherId, csrDer } = introduction;
  return safeTry(async function* () {
    const th = transcriptHash(crypto.sha256, {
      offer: [2],
      session,
      host,
      csrDer,
      tlsSpki: connection.leaf().spki,
      caDer: cas.map(({ der }) => der),
      dispatcherDer: dispatchers.map(({ der }) => der),
    });
    const agentNonce = random.bytes(32);
    const answered = yield* connection.send('nonce', 'nonce', { v: 2, session, nonce: agentNonce });
    const dispatcherNonce = answered.nonce;
    if (
      !crypto.equal(answered.session, session) ||
      !crypto.equal(commitment(crypto.sha256, th, dispatcherNonce), commit)
    )
      return err(
        failure(
          'wrong_identity',
          'the dispatcher does not keep to what it committed to: somebody may be between the two hosts. Nothing was installed',
          { expected: 'the committed nonce', found: 'another' },
        ),
      );
    const code = pairingCode(crypto.sha256, th, agentNonce, dispatcherNonce);
    const shown = { code, request: hex(session), dispatcherId };
    onCode?.(shown);
    if (trust.kind === 'compare' && !(await trust.confirm(shown)))
      return err(failure('codes_differ', 'the codes were not confirmed: nothing was installed', {}));
    return ok({ th, agentNonce, dispatcherNonce, code });
  });
}

/** M5, repeated until the operator has decided. */
function fetchCertificate(
  context: AgentContext,
  connection: PairingConnection,
  introduction: DispatcherIntroduction,
  { th, agentNonce, dispatcherNonce }: Session,
  key: SigningKey,
  { signal }: PairingOptions,
): ResultAsync<{ name: string; certificate: Certificate }, CtrlExecError> {
  const { clock } = context;
  const sig = key.sign(confirmMessage(th, agentNonce, dispatcherNonce));
  const deadline = clock.monotonic() + sessionSeconds * 1000;
  return safeTry(async function* () {
    for (;;) {
      const answer = yield* connection.confirm({ v: 2, session: introduction.session, sig });
      if (answer.kind === 'denied')
        return err(
          failure('pairing_denied', `pairing was denied: ${answer.reason}`, { reason: answer.reason }),
        );
      if (answer.kind === 'approved')
        return judgeIssued(context, introduction, key.spki, answer).map((certificate) => ({
          name: answer.name,
          certificate,
        }));
      if (answer.kind === 'expired' || clock.monotonic() >= deadline)
        return err(failure('pairing_expired', 'nobody approved in time: the request has expired', {}));
      yield* wait(clock, answer.retryAfter * 1000, signal);
    }
  });
}

/** The identity to keep trust from: the present one, if it is of the same CA. */
function mayInstall(
  context: AgentContext,
  present: Identity,
  { cas }: DispatcherIntroduction,
  replace: boolean,
): Result<string, CtrlExecError> {
  const held = present['ca-certificate'];
  if (held === undefined) return ok('');
  const same = splitCertificates(held).some((pem) =>
    context.crypto.readCertificate(pem).match(
      ({ der }) => cas.some((ca) => context.crypto.equal(ca.der, der)),
      () => false,
    ),
  );
  if (same) return ok(present['trusted-dispatchers'] ?? '');
  if (replace) return ok('');
  return err(
    failure('identity_exists', 'this host is paired under another CA: --replace gives that identity up', {
      reason: 'another CA',
    }),
  );
}

const trustText = (kept: string, { dispatchers, dispatcherId }: DispatcherIntroduction): string =>
  formatTrust(
    dispatchers.reduce(
      (trust, { serial }) => addTrust(trust, { serial, dispatcherId }),
      parseTrust(kept).entries,
    ),
  );

/** M6. That it fails is no failure of the pairing: the dispatcher's first connection to the new key tells it as well. */
async function reportInstalled(
  context: AgentContext,
  connection: PairingConnection,
  { session, dispatcherId }: DispatcherIntroduction,
  { th }: Session,
  certificate: Certificate,
  key: SigningKey,
): Promise<void> {
  const sig = key.sign(installedMessage(context.crypto.sha256, th, certificate.der));
  for (let attempt = 1; attempt <= installedAttempts; attempt += 1) {
    const reported = await connection.installed({ v: 2, session, sig });
    if (reported.isOk()) return;
    context.events.emit({
      action: 'pairing-report-failed',
      level: 'warning',
      fields: {
        dispatcher: dispatcherId,
        request: base64url(session),
        attempt,
        reason: reported.error.message,
      },
    });
  }
}
