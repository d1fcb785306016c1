import { callback, dictionaryOf, having, maybe, type Table, text } from '../../domain/core/border.js';
import type { CertificateRequests } from '../../ports/certificate-requests.js';
import type { Channel } from '../../ports/channel.js';
import type { Clock } from '../../ports/clock.js';
import type { Crypto } from '../../ports/crypto.js';
import type { EventLog } from '../../ports/event-log.js';
import type { FileSystem } from '../../ports/file-system.js';
import type { Listener } from '../../ports/listener.js';
import type { ProcessRunner } from '../../ports/process-runner.js';
import type { Random } from '../../ports/random.js';
import type { RevocationLists } from '../../ports/revocation-lists.js';
import type { TlsProbe } from '../../ports/tls-probe.js';
import type { AgentPorts } from '../../sdk/agent/context.js';
import type { PullPorts } from '../../sdk/deploy/pull/context.js';
import type { DispatcherPorts } from '../../sdk/dispatcher/context.js';

export const eventLog = having<EventLog>('emit');

const certificateRequests = maybe(having<CertificateRequests>('create', 'read'));
const clock = maybe(having<Clock>('now', 'monotonic', 'after'));
const crypto = maybe(
  having<Crypto>('sha256', 'runningSha256', 'hmacSha256', 'generateKey', 'signingKey', 'verify'),
);
const random = maybe(having<Random>('bytes'));
const runner = maybe(having<ProcessRunner>('run'));

const shared = {
  certificateRequests,
  clock,
  crypto,
  events: maybe(eventLog),
  files: maybe(having<FileSystem>('read', 'readText', 'list', 'replace', 'makeDirectory')),
  listener: maybe(having<Listener>('listen')),
  random,
  revocationLists: maybe(having<RevocationLists>('read')),
};

/** The ports that may be given to a dispatcher. */
export const dispatcherPorts: Table<Partial<DispatcherPorts>> = {
  ...shared,
  authority: maybe(having('create', 'certificates', 'issue', 'revocationList', 'succeed', 'retirePrevious')),
  channel: maybe(having<Channel>('connect', 'isUnknownHost', 'forget', 'close')),
  hook: maybe(having('ask')),
  joinTokens: maybe(having('add', 'find', 'bind', 'burnBound', 'purge')),
  keyStore: maybe(having('read', 'replace', 'location', 'checkWritable')),
  mutex: maybe(having('acquire', 'close')),
  pairing: maybe(
    having('begin', 'find', 'held', 'open', 'decide', 'issue', 'activate', 'observed', 'unpair', 'end'),
  ),
  registry: maybe(having('list', 'find', 'findByKey', 'enrol', 'activate', 'update', 'remove')),
  revocations: maybe(having('current', 'revision', 'has', 'add', 'revoke', 'bannedKeys', 'unban')),
  runStore: maybe(having('begin', 'settle', 'locks', 'release', 'find', 'list', 'purge')),
};

/** The ports that may be given to an agent. */
export const agentPorts: Table<Partial<AgentPorts>> = {
  ...shared,
  channel: maybe(having<Channel>('connect', 'isUnknownHost', 'forget', 'close')),
  hook: maybe(callback()),
  jobs: maybe(callback()),
  journal: maybe(callback()),
  keyStore: maybe(callback()),
  legacyPairing: maybe(having('request')),
  runner,
};

/** The ports that may be given to a pull agent. */
export const pullPorts: Table<Partial<PullPorts>> = {
  caddyAdmin: maybe(having('read', 'replace')),
  certificateRequests,
  clock,
  controlPlane: maybe(callback()),
  crypto,
  deploymentFiles: maybe(having('hold', 'identify', 'look', 'stage', 'place', 'discard')),
  deploymentJournal: maybe(callback()),
  environment: maybe(dictionaryOf(text)),
  events: maybe(eventLog),
  files: maybe(having('readText', 'faults', 'isExecutable')),
  keys: maybe(callback()),
  random,
  runner,
  tlsProbe: maybe(having<TlsProbe>('resolve', 'servedFingerprint')),
  tree: maybe(having('walk')),
};
