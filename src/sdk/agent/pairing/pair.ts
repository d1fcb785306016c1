import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import { hex } from '../../../domain/core/bytes.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { newAgentName } from '../../../domain/core/host-argument.js';
import { type JoinToken, parseJoinToken } from '../../../domain/pairing/join-token.js';
import type { StartedMessage, StartMessage } from '../../../domain/pairing/messages.js';
import {
  commitment,
  confirmMessage,
  installedMessage,
  joinAgentMessage,
  joinDispatcherMessage,
  joinKeyInfo,
  pairingCode,
  type Transcript,
  transcriptHash,
} from '../../../domain/pairing/transcript.js';
import { closedInHandshake } from '../../../domain/protocol/connection-failures.js';
import type { AgentSettings } from '../../../domain/settings/agent.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import type { SigningKey } from '../../../ports/crypto.js';
import { wait } from '../../core/wait.js';
import { confirm, installed, nonce, start } from '../../protocol/pairing-endpoints.js';
import type { AgentContext } from '../context.js';
import { openPairingConnection, type PairingConnection, refused, saidNo } from './connection.js';
import { casAfterwards, identityItems, install } from './installation.js';
import {
  type DispatcherIntroduction,
  judgeFingerprint,
  judgeIntroduction,
  judgeIssued,
  readFingerprint,
} from './judgement.js';
import { chooseKey } from './key.js';
import {
  deadlineOf,
  denied,
  expired,
  judgeOptions,
  type Paired,
  type PairingOptions,
  retryDelay,
} from './options.js';
import { pairByVersion1 } from './version1.js';

/** Milliseconds until a poll whose connection failed is repeated. */
const pollDelay = 2000;

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
    yield* judgeOptions(options);
    if (options.trust.kind === 'ca-sha256') yield* readFingerprint(options.trust.fingerprint);
    const join = options.trust.kind === 'join' ? yield* parseJoinToken(options.trust.token) : undefined;
    const host = yield* newAgentName(options.hostName ?? context.hostName);
    yield* keyStore.checkWritable(identityItems);
    const present = yield* keyStore.read(identityItems);
    const key = yield* chooseKey(context, present['agent-key'], options.newKey ?? false);
    const connection = openPairingConnection(context, options);

    const begun = await introduce(context, settings, options, connection, host, key.pem, join);
    if (begun.isErr() && options.allowV1 && isOfVersion1(begun.error))
      return ok(yield* pairByVersion1(context, settings, options, { host, key, present }));
    const introduction = yield* begun;
    const { replace = false } = options;
    // Judged again with what is there when it is installed; nobody is to compare codes in vain.
    yield* casAfterwards(context, present['ca-certificate'], introduction, introduction.dispatchers, replace);
    const session = yield* compare(context, options, connection, introduction, host);
    const { name, certificate } = yield* fetchCertificate(
      context,
      connection,
      introduction,
      session,
      key.signing,
      options,
    );

    yield* install(context, settings, present, {
      key,
      replace,
      certificate,
      whom: introduction,
      signs: true,
    });
    await reportInstalled(context, connection, introduction, session, certificate, key.signing);
    const { serial, notAfter } = certificate;
    const { dispatcherId } = introduction;
    context.events.emit({ action: 'paired', fields: { host: name, dispatcher: dispatcherId, serial } });
    const acceptsUnsigned = settings.acceptLegacyDispatchers;
    return ok<Paired>({
      name,
      dispatcherId,
      code: session.code,
      serial,
      notAfter,
      version: 'v2',
      acceptsUnsigned,
    });
  });
}

/** M1, again every ten seconds while the dispatcher has too many requests waiting, or too many connections. */
function begin(
  context: AgentContext,
  connection: PairingConnection,
  options: PairingOptions,
  message: StartMessage,
): ResultAsync<StartedMessage, CtrlExecError> {
  const deadline = deadlineOf(context, options);
  return safeTry(async function* () {
    for (let knowsVersion2 = false; ; ) {
      const asked = await connection.ask(start, message);
      const late = context.clock.monotonic() + retryDelay >= deadline;
      if (asked.isErr() && (late || !isFull(asked.error))) return err(asked.error);
      if (asked.isOk()) {
        const answer = asked.value;
        switch (answer.outcome) {
          case 'started':
            return ok(answer);
          case 'queue_full':
          case 'slow':
            if (late) return err(saidNo(start, answer.outcome));
            break;
          case 'version1':
          case 'absent':
            return err(knowsVersion2 ? saidNo(start, answer.outcome) : version1Only(answer));
          default:
            return err(saidNo(start, answer.outcome));
        }
        /* defence: version-2-seen-stays */ knowsVersion2 = true;
      }
      yield* wait(context.clock, retryDelay, options.signal);
    }
  });
}

/** A connection that was made and closed before a request could go out is how a pairing port turns away one too many. */
const isFull = (error: CtrlExecError): boolean =>
  error.code === 'connection_failed' && closedInHandshake.has(error.reason);

/**
 * The answer to M1 was a 404 or an error of version 1, and nothing said before that it knows version 2: then, and only then, version 1
 * may be tried (wire-protocol 2.2).
 */
const version1Only = ({
  outcome,
  reason,
}: {
  readonly outcome: string;
  readonly reason?: string | undefined;
}) => ({
  ...refused(reason ?? 'not_found', start.answers[outcome === 'absent' ? 'absent' : 'version1'].status),
  version1: true as const,
});

const isOfVersion1 = (error: CtrlExecError): boolean => 'version1' in error;

/** The versions that this side would pair by: hashed, so that nobody between can change them unnoticed. */
const offerOf = ({ allowV1 }: PairingOptions): readonly number[] => (allowV1 ? [1, 2] : [2]);

/** M1 and M2: who the dispatcher claims to be, judged by itself and, where one is given, by the fingerprint. */
function introduce(
  context: AgentContext,
  settings: AgentSettings,
  options: PairingOptions,
  connection: PairingConnection,
  host: string,
  keyPem: string,
  join: JoinToken | undefined,
): ResultAsync<Introduced, CtrlExecError> {
  return safeTry(async function* () {
    const csrPem = yield* context.certificateRequests.create(keyPem, host);
    const csr = yield* context.certificateRequests.read(csrPem);
    const started = yield* begin(context, connection, options, {
      v: 2,
      offer: offerOf(options),
      host,
      csr_pem: csrPem,
      port: options.agentPort ?? settings.port,
      lookup_by: options.lookupBy ?? 'hostname',
      ...(join && { join: join.id }),
    });
    const claimed = yield* judgeIntroduction(context, started);
    const believed =
      options.trust.kind === 'ca-sha256'
        ? yield* judgeFingerprint(context, claimed, connection.leaf(), options.trust.fingerprint)
        : claimed;
    const sent = {
      csrDer: csr.der,
      caDer: claimed.cas.map(({ der }) => der),
      dispatcherDer: claimed.dispatchers.map(({ der }) => der),
      endorsements: started.ca_endorsements,
    };
    return ok({ ...believed, sent, join });
  });
}

/** What the session goes on with: the dispatcher's claims, and what this side began it with. */
interface Introduced extends DispatcherIntroduction {
  /** What M1 and M2 carried, whatever of it is believed. */
  readonly sent: Pick<Transcript, 'csrDer' | 'caDer' | 'dispatcherDer' | 'endorsements'>;
  readonly join: JoinToken | undefined;
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
  options: PairingOptions,
  connection: PairingConnection,
  introduction: Introduced,
  host: string,
): ResultAsync<Session, CtrlExecError> {
  const { crypto, random } = context;
  const { onCode, trust } = options;
  const { session, sent, commit, dispatcherId, join } = introduction;
  return safeTry(async function* () {
    const th = transcriptHash(crypto.sha256, {
      offer: offerOf(options),
      session,
      host,
      ...sent,
      tlsSpki: connection.leaf().spki,
      joinId: join?.id,
    });
    const agentNonce = random.bytes(32);
    const joinKey = join && crypto.hkdfSha256(join.secret, join.id, joinKeyInfo, 32);
    const mac = joinKey && crypto.hmacSha256(joinKey, joinAgentMessage(th, commit, agentNonce));
    const proof = mac && { mac };
    const answered = yield* connection.ask(nonce, { v: 2, session, nonce: agentNonce, ...proof });
    if (answered.outcome !== 'nonce') return err(saidNo(nonce, answered.outcome));
    const dispatcherNonce = answered.nonce;
    if (
      !crypto.equal(answered.session, session) ||
      // defence: nonce-fits-commitment
      !crypto.equal(commitment(crypto.sha256, th, dispatcherNonce), commit)
    )
      return err(
        failure(
          'wrong_identity',
          'the dispatcher does not keep to what it committed to: somebody may be between the two hosts. Nothing was installed',
          { expected: 'the committed nonce', found: 'another' },
        ),
      );
    if (
      joinKey &&
      !provesToken(context, joinKey, joinDispatcherMessage(th, agentNonce, dispatcherNonce), answered.mac)
    )
      return err(
        failure(
          'wrong_identity',
          'the dispatcher does not know this join token: it is not the one that issued it. Nothing was installed',
          { expected: 'proof of the token', found: answered.mac ? 'another' : 'none' },
        ),
      );
    const code = pairingCode(crypto.sha256, th, agentNonce, dispatcherNonce);
    const shown = { code, request: hex(session), dispatcherId, version: 'v2' as const };
    onCode?.(shown);
    if (trust.kind === 'compare' && /* defence: person-confirms-at-agent */ !(await trust.confirm(shown))) {
      // A second nonce destroys the session: its place in the queue is free at once. Where it does not arrive, time does it.
      await connection.ask(nonce, { v: 2, session, nonce: random.bytes(32) });
      return err(failure('codes_differ', 'the codes were not confirmed: nothing was installed', {}));
    }
    return ok({ th, agentNonce, dispatcherNonce, code });
  });
}

const provesToken = (
  { crypto }: AgentContext,
  key: Uint8Array,
  message: Uint8Array,
  mac: Uint8Array | undefined,
) =>
  mac !== undefined &&
  /* defence: dispatcher-proves-join-token */ crypto.equal(mac, crypto.hmacSha256(key, message));

/** M5, repeated until the operator has decided. */
function fetchCertificate(
  context: AgentContext,
  connection: PairingConnection,
  introduction: DispatcherIntroduction,
  { th, agentNonce, dispatcherNonce }: Session,
  key: SigningKey,
  options: PairingOptions,
): ResultAsync<{ name: string; certificate: Certificate }, CtrlExecError> {
  const { clock } = context;
  const sig = key.sign(confirmMessage(th, agentNonce, dispatcherNonce));
  const deadline = deadlineOf(context, options);
  return safeTry(async function* () {
    for (;;) {
      const asked = await connection.ask(confirm, { v: 2, session: introduction.session, sig });
      if (asked.isErr() && passes(asked.error) && clock.monotonic() + pollDelay < deadline) {
        yield* wait(clock, pollDelay, options.signal);
        continue;
      }
      const answer = yield* asked;
      switch (answer.outcome) {
        case 'denied':
          return err(denied(answer.reason));
        case 'approved':
          return judgeIssued(context, introduction, key.spki, answer).map((certificate) => ({
            name: answer.name,
            certificate,
          }));
        case 'pending':
          if (clock.monotonic() >= deadline) return err(expired());
          yield* wait(clock, answer.retry_after * 1000, options.signal);
          break;
        case 'expired':
          return err(expired());
        default:
          return err(saidNo(confirm, answer.outcome));
      }
    }
  });
}

/** Whether it is worth asking again: the connection failed, which says nothing about the request. */
const passes = ({ code }: CtrlExecError): boolean => code === 'timed_out' || code === 'connection_failed';

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
    const reported = await connection.ask(installed, { v: 2, session, sig });
    if (reported.isOk() && reported.value.outcome === 'ok') return;
    context.events.emit({
      action: 'pairing-report-failed',
      level: 'warning',
      fields: {
        dispatcher: dispatcherId,
        request: hex(session),
        attempt,
        reason: reported.isOk() ? saidNo(installed, reported.value.outcome).message : reported.error.message,
      },
    });
    if (attempt < installedAttempts) await wait(context.clock, pollDelay);
  }
}
