import { err, ok, okAsync, type Result, type ResultAsync } from 'neverthrow';
import { agentPort, maxAnswerBody } from '../../domain/agent-protocol.js';
import type { AgentRecord } from '../../domain/agent-record.js';
import { hex, utf8 } from '../../domain/bytes.js';
import type { Certificate } from '../../domain/certificate.js';
import { type CtrlExecError, failure } from '../../domain/errors.js';
import { parseHostArgument } from '../../domain/host-argument.js';
import { printable } from '../../domain/names.js';
import type { TransportAnswer, TransportError, TransportTarget } from '../../ports/transport.js';
import type { DispatcherContext, DispatcherIdentity } from './context.js';

/** Milliseconds for TCP, TLS and the check of the certificate together. */
const connectTimeout = 10_000;

/** A host argument and what it stands for. */
export interface Addressed {
  /** The registry name, or the argument as it stands: the key of results and of locks. */
  readonly host: string;
  readonly record: AgentRecord | undefined;
  readonly dial: { readonly host: string; readonly port: number };
}

const dialled = (record: AgentRecord, port: number | undefined) => ({
  host: record.endpoint.lookupBy === 'ip' ? record.endpoint.ip : record.endpoint.host,
  port: port ?? record.endpoint.port,
});

/** Finds what each host argument stands for; a repeated one counts once. `port` overrides what is stored. */
export function address(
  context: DispatcherContext,
  hosts: readonly string[],
  port?: number,
): ResultAsync<readonly Addressed[], CtrlExecError<'invalid_argument' | 'store_failed'>> {
  return context.registry
    .list()
    .andThen((records): Result<Addressed[], CtrlExecError<'invalid_argument'>> => {
      const byName = new Map(records.map((record) => [record.name, record]));
      const addressed = new Map<string, Addressed>();
      for (const text of hosts) {
        const record = byName.get(text.toLowerCase());
        if (record) {
          addressed.set(record.name, { host: record.name, record, dial: dialled(record, port) });
          continue;
        }
        const parsed = parseHostArgument(text);
        if (parsed.isErr()) return err(parsed.error);
        const dial = { host: parsed.value.host, port: parsed.value.port ?? port ?? agentPort };
        addressed.set(text, { host: text, record: undefined, dial });
      }
      return ok([...addressed.values()]);
    });
}

const spkiDigest = (context: DispatcherContext, peer: Certificate) => hex(context.crypto.sha256(peer.spki));

const describe = (peer: Certificate) =>
  printable(peer.uris[0] ?? peer.dnsNames[0] ?? peer.commonName ?? `serial ${peer.serial}`);

/**
 * Whether the key that answers is the one that may: pinned for the registered name, or, for an argument that is no
 * registered name, pinned for some registered agent (wire-protocol 2.1).
 */
function judge(
  context: DispatcherContext,
  { host, record }: Addressed,
  peer: Certificate,
): ResultAsync<void, TransportError> {
  const digest = spkiDigest(context, peer);
  const found = describe(peer);
  if (record)
    return record.pins.some((pin) => pin.spkiSha256 === digest)
      ? okAsync(undefined)
      : okAsync(undefined).andThen(() =>
          err(
            failure(
              'wrong_identity',
              `wrong identity: the host that answers for ${host} has the key of ${found}, not the one that was paired; nothing was sent`,
              { expected: host, found },
            ),
          ),
        );
  return context.registry
    .findByKey(digest)
    .andThen((owner) =>
      owner
        ? ok(undefined)
        : err(
            failure(
              'wrong_identity',
              `wrong identity: ${printable(host)} answers as ${found}, whose key no registered agent has; nothing was sent`,
              { expected: host, found },
            ),
          ),
    );
}

function target(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  addressed: Addressed,
): TransportTarget {
  const { record, dial } = addressed;
  // Whether the key of an unregistered argument belongs to an agent is asked anew each time: nothing is kept for it.
  const judgedBy = record ? record.pins.map((pin) => pin.spkiSha256).join(',') : hex(context.random.bytes(8));
  return {
    ...dial,
    credentials: identity.credentials,
    trust: identity.cas,
    judge: (peer) => judge(context, addressed, peer),
    connectionKey: JSON.stringify([
      dial.host,
      dial.port,
      addressed.host,
      judgedBy,
      identity.certificate.serial,
    ]),
  };
}

export interface AgentRequest {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: unknown;
  /** Milliseconds. */
  readonly answerTimeout: number;
  readonly signal?: AbortSignal | undefined;
}

/** An agent's answer, the milliseconds it took, and the registry name of who gave it. */
export interface AgentAnswer {
  readonly answer: TransportAnswer;
  readonly name: string;
  readonly rtt: number;
}

/** One exchange with an agent. The first answer of a freshly issued key makes its pin active. */
export function exchange(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  addressed: Addressed,
  request: AgentRequest,
): ResultAsync<AgentAnswer, TransportError> {
  const started = context.clock.monotonic();
  const body = request.body === undefined ? new Uint8Array() : utf8(JSON.stringify(request.body));
  const aimed = target(context, identity, addressed);
  return context.transport
    .request(aimed, {
      method: request.method,
      path: request.path,
      query: '',
      headers: body.length > 0 ? [['content-type', 'application/json']] : [],
      body,
      connectTimeout,
      answerTimeout: request.answerTimeout,
      maxAnswer: maxAnswerBody,
      ...(request.signal && { signal: request.signal }),
    })
    .andThen((answer) => {
      const rtt = Math.round(context.clock.monotonic() - started);
      if (!addressed.record) context.transport.forget(aimed.connectionKey);
      return seen(context, addressed, answer.peer).map((name) => ({ answer, rtt, name }));
    });
}

function seen(
  context: DispatcherContext,
  { host, record }: Addressed,
  peer: Certificate,
): ResultAsync<string, TransportError> {
  const digest = spkiDigest(context, peer);
  const known = record ? okAsync(record) : context.registry.findByKey(digest);
  return known.andThen((owner) => {
    if (!owner) return okAsync(host);
    const pin = owner.pins.find((candidate) => candidate.spkiSha256 === digest);
    if (pin?.state !== 'issued') return okAsync(owner.name);
    return context.registry
      .activate(owner.name, digest)
      .andThen((active) =>
        context.joinTokens.burnBound(active.name, context.clock.now()).map(() => active.name),
      )
      .orElse((error) => (error.code === 'agent_unknown' ? ok(owner.name) : err(error)));
  });
}
