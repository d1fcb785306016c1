import { errAsync, ok, okAsync, type ResultAsync, safeTry } from 'neverthrow';
import { agentPort } from '../../domain/agent-protocol.js';
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
  /** For an argument that is no registered name: whether the agent that it turns out to be may be asked. */
  readonly permit?: (name: string) => ResultAsync<void, CtrlExecError<'denied'>>;
}

const dialled = (record: AgentRecord, port: number | undefined) => ({
  host: record.endpoint.lookupBy === 'ip' ? record.endpoint.ip : record.endpoint.host,
  port: port ?? record.endpoint.port,
});

/** From so many arguments on the whole registry is read at once. */
const manyHosts = 32;

/** Finds what each host argument stands for; a repeated one counts once. `port` overrides what is stored. */
export function address(
  context: DispatcherContext,
  hosts: readonly string[],
  port?: number,
): ResultAsync<readonly Addressed[], CtrlExecError<'invalid_argument' | 'store_failed'>> {
  return safeTry(async function* () {
    const all =
      hosts.length >= manyHosts
        ? new Map((yield* context.registry.list()).map((record) => [record.name, record]))
        : undefined;
    const addressed = new Map<string, Addressed>();
    for (const text of hosts) {
      const name = text.toLowerCase();
      const record = all ? all.get(name) : yield* context.registry.find(name);
      if (record) {
        addressed.set(record.name, { host: record.name, record, dial: dialled(record, port) });
        continue;
      }
      const parsed = yield* parseHostArgument(text);
      const dial = { host: parsed.host, port: parsed.port ?? port ?? agentPort };
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
  { host, record, permit }: Addressed,
  peer: Certificate,
): ResultAsync<void, TransportError> {
  const digest = spkiDigest(context, peer);
  const found = describe(peer);
  const wrong = (message: string): ResultAsync<void, TransportError> =>
    errAsync(
      failure('wrong_identity', `wrong identity: ${message}; nothing was sent`, { expected: host, found }),
    );
  if (record)
    return record.pins.some((pin) => pin.spkiSha256 === digest)
      ? okAsync(undefined)
      : wrong(`the host that answers for ${host} has the key of ${found}, not the one that was paired`);
  return context.registry
    .findByKey(digest)
    .mapErr((error): TransportError => error)
    .andThen((owner) => {
      if (!owner) return wrong(`${printable(host)} answers as ${found}, whose key no registered agent has`);
      return permit ? permit(owner.name) : okAsync(undefined);
    });
}

function target(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  addressed: Addressed,
): TransportTarget {
  const { host, dial } = addressed;
  return {
    ...dial,
    credentials: identity.credentials,
    trust: identity.cas,
    judge: (peer) => judge(context, addressed, peer),
    connectionKey: JSON.stringify([dial.host, dial.port, host]),
  };
}

export interface AgentRequest {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly body?: unknown;
  /** Milliseconds. */
  readonly answerTimeout: number;
  /** Bytes of answer that are accepted. */
  readonly maxAnswer: number;
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
  return context.transport
    .request(target(context, identity, addressed), {
      method: request.method,
      path: request.path,
      query: '',
      headers: body.length > 0 ? [['content-type', 'application/json']] : [],
      body,
      connectTimeout,
      answerTimeout: request.answerTimeout,
      maxAnswer: request.maxAnswer,
      ...(request.signal && { signal: request.signal }),
    })
    .andThen((answer) => {
      const rtt = Math.round(context.clock.monotonic() - started);
      return seen(context, addressed, answer.peer).map((name) => ({ answer, rtt, name }));
    });
}

/** Who answered, by name. What cannot be recorded of it is logged; the answer stands. */
function seen(
  context: DispatcherContext,
  { host, record }: Addressed,
  peer: Certificate,
): ResultAsync<string, never> {
  const { clock, joinTokens, registry } = context;
  const digest = spkiDigest(context, peer);
  return safeTry<string, CtrlExecError<'agent_unknown' | 'store_failed'>>(async function* () {
    const owner = record ?? (yield* registry.findByKey(digest));
    if (!owner) return ok(host);
    const pin = owner.pins.find((candidate) => candidate.spkiSha256 === digest);
    if (pin?.state !== 'issued') return ok(owner.name);
    const active = yield* registry.activate(owner.name, digest);
    yield* joinTokens.burnBound(active.name, clock.now());
    return ok(active.name);
  }).orElse((error) => {
    // An agent that was unpaired meanwhile has nothing to be recorded in.
    if (error.code === 'store_failed') recordFailed(context, error.message);
    return ok(record?.name ?? host);
  });
}

/** Something happened that the store could not take: the log has to hold it. */
export const recordFailed = (context: DispatcherContext, reason: string, reqid?: string): void =>
  context.events.emit({ action: 'record-failed', level: 'error', fields: { reqid, reason } });
