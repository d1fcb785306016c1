import {
  asks,
  callback,
  dictionaryOf,
  filled,
  flag,
  having,
  type Kind,
  listOf,
  mayAsk,
  maybe,
  number,
  oneOf,
  port,
  record,
  signal,
  type Table,
  text,
} from '../../domain/core/border.js';
import type { Lock } from '../../domain/core/errors.js';
import { type HostState, hostStates } from '../../domain/runs/host-result.js';
import type { RunQuery } from '../../domain/runs/query.js';
import type { AgentQuery, TargetRequest } from './fleet/agents.js';
import type { Asked, Asking } from './fleet/ask.js';
import type { Caller } from './fleet/authorise.js';
import type { DiscoveryRequest } from './fleet/discovery.js';
import type { PingRequest } from './fleet/ping.js';
import type { AgentEdit } from './fleet/registered-agents.js';
import type { MaintainOptions } from './maintenance/maintain.js';
import type { ImportOptions } from './migrate/import-state.js';
import type { Approval, RequestListing } from './pairing/decisions.js';
import type { JoinTokenRequest } from './pairing/join-tokens.js';
import type { PairingModeOptions } from './pairing/pairing-mode.js';
import type { CancelOptions } from './runs/cancel.js';
import type { StreamRequest } from './runs/follow.js';
import type { ScriptRequest } from './runs/request.js';
import type { RetryOptions, RetrySubmitOptions } from './runs/retry.js';
import type { RunRequest, SubmitRequest } from './runs/run.js';
import type { WaitOptions } from './runs/wait.js';
import type { WatchOptions } from './runs/watch.js';
import type { SetupDispatcherOptions } from './trust/setup.js';

const hosts = listOf(text);
const lookupBy = oneOf('hostname', 'ip');
const ending = record<{ readonly signal?: AbortSignal }>({ signal: maybe(signal) });

type Governed = Pick<Asking, 'caller' | 'withoutHook' | 'signal'>;
interface Rotating extends Governed {
  readonly insist?: boolean;
}

const governed: Table<Governed> = {
  caller: maybe(record<Caller>({ username: maybe(text), token: maybe(text), sourceIp: maybe(text) })),
  withoutHook: maybe(oneOf('allow', 'deny')),
  signal: maybe(signal),
};
const asking: Table<Asking> = {
  ...governed,
  port: maybe(port(1)),
  onUnknown: maybe(oneOf('refuse', 'report')),
};
const again: Table<Omit<ScriptRequest, 'hosts' | 'script' | 'args' | 'onBegin'>> = {
  ...asking,
  timeout: maybe(number),
  idempotencyKey: maybe(text),
  repeatSignal: maybe(signal),
};
const script: Table<Omit<ScriptRequest, 'onBegin'>> = {
  ...again,
  hosts,
  script: text,
  args: maybe(listOf(text)),
};
const rotating: Table<Rotating> = { ...governed, insist: maybe(flag) };

/** What `retry` takes by its two signatures. */
export type Retry =
  | (RetryOptions & { readonly async?: false })
  | (RetrySubmitOptions & { readonly async: true });
const retryAndWait = record<RetryOptions & { readonly async?: false }>({
  ...again,
  async: maybe(oneOf(false)),
  onBegin: maybe(callback()),
  onResult: maybe(callback()),
  onOutput: maybe(callback()),
  detachSignal: maybe(signal),
});
const retryAsync = record<RetrySubmitOptions & { readonly async: true }>({
  ...again,
  async: oneOf(true),
  onBegin: maybe(callback()),
  onResult: maybe(callback()),
});
const retry: Kind<Retry> = {
  form: 'an object',
  read: (value, field) => {
    const isAsync = typeof value === 'object' && value !== null && Reflect.get(value, 'async') === true;
    return (isAsync ? retryAsync : retryAndWait).read(value, field);
  },
};

const asked = record<Asked>({
  action: text,
  script: maybe(text),
  hosts: maybe(hosts),
  args: maybe(listOf(text)),
});
const tags = maybe(dictionaryOf(text));

const named = <K>(name: string, kind: K) => ({ name, kind });
const reqid = named('reqid', text);
const name = named('name', text);

/** What every method of a dispatcher takes; compared with `Dispatcher` where it is used. */
export const dispatcherCalls = {
  authorise: [
    asks(asked),
    mayAsk(
      record<Pick<Asking, 'caller' | 'withoutHook'>>({
        caller: governed.caller,
        withoutHook: governed.withoutHook,
      }),
    ),
  ],
  setup: [mayAsk(record<SetupDispatcherOptions>({ replace: maybe(flag), force: maybe(flag) }))],
  importState: [
    asks(record<ImportOptions>({ directory: filled, state: maybe(filled), dryRun: maybe(flag) })),
  ],
  openPairing: [
    mayAsk(
      record<PairingModeOptions>({
        port: maybe(port(0)),
        bind: maybe(text),
        allowV1: maybe(flag),
        onChange: maybe(callback()),
      }),
    ),
  ],
  pairingRequests: [mayAsk(record<RequestListing>({ givenUp: maybe(flag) }))],
  approve: [
    asks(
      record<Approval>({
        id: text,
        code: maybe(text),
        name: maybe(text),
        replace: maybe(flag),
        lookupBy: maybe(lookupBy),
        port: maybe(port(1)),
        ip: maybe(text),
      }),
    ),
  ],
  deny: [named('id', text), named('reason', maybe(text))],
  issueJoinToken: [asks(record<JoinTokenRequest>({ host: text, ttl: maybe(number) }))],
  withdrawJoinToken: [named('token', text)],
  agents: [named('tags', tags)],
  agentPage: [mayAsk(record<AgentQuery>({ tags, limit: maybe(number), cursor: maybe(text) }))],
  targets: [
    asks(
      record<TargetRequest>({
        caller: governed.caller,
        withoutHook: governed.withoutHook,
        hosts: maybe(hosts),
        tags,
        all: maybe(flag),
        question: maybe(asked),
      }),
    ),
  ],
  agent: [name],
  editAgent: [
    name,
    asks(
      record<AgentEdit>({
        rename: maybe(text),
        host: maybe(text),
        ip: maybe(text),
        port: maybe(port(1)),
        lookupBy: maybe(lookupBy),
        legacy: maybe(flag),
      }),
    ),
  ],
  pinAgent: [name],
  unpair: [name],
  run: [
    asks(
      record<RunRequest>({
        ...script,
        onBegin: maybe(callback()),
        onResult: maybe(callback()),
        onOutput: maybe(callback()),
        detachSignal: maybe(signal),
      }),
    ),
  ],
  stream: [asks(record<StreamRequest>({ ...script, detachSignal: maybe(signal) }))],
  submit: [
    asks(record<SubmitRequest>({ ...script, onBegin: maybe(callback()), onResult: maybe(callback()) })),
  ],
  runs: [
    mayAsk(
      record<RunQuery>({
        host: maybe(text),
        script: maybe(text),
        username: maybe(text),
        outcome: maybe(oneOf<HostState>(...hostStates)),
        startedAfter: maybe(number),
        startedBefore: maybe(number),
        limit: maybe(number),
        cursor: maybe(text),
      }),
    ),
  ],
  retry: [reqid, mayAsk(retry)],
  status: [reqid, mayAsk(record<Asking>(asking))],
  wait: [
    reqid,
    mayAsk(record<WaitOptions>({ ...asking, timeout: maybe(number), onResult: maybe(callback()) })),
  ],
  watch: [
    reqid,
    mayAsk(record<WatchOptions>({ ...asking, onStatus: maybe(callback()), onResult: maybe(callback()) })),
  ],
  cancel: [reqid, mayAsk(record<CancelOptions>({ ...asking, hosts: maybe(hosts) }))],
  ping: [asks(record<PingRequest>({ ...asking, hosts, onResult: maybe(callback()) }))],
  discover: [
    mayAsk(record<DiscoveryRequest>({ ...asking, hosts: maybe(hosts), onResult: maybe(callback()) })),
  ],
  rotate: [
    mayAsk(record<Rotating & { readonly compromised?: boolean }>({ ...rotating, compromised: maybe(flag) })),
  ],
  maintain: [mayAsk(record<MaintainOptions>({ signal: maybe(signal), alone: maybe(flag) }))],
  settleRuns: [mayAsk(ending)],
  revoke: [named('nameOrSerial', text), mayAsk(record<Governed>(governed))],
  unban: [named('key', text), mayAsk(record<Governed>(governed))],
  offerRevocations: [mayAsk(ending)],
  readmit: [name, mayAsk(record<Governed>(governed))],
  rotateCa: [mayAsk(record<Rotating>(rotating))],
  releaseLock: [
    // One of `locks` can be given as it is.
    asks(
      record<Pick<Lock, 'host' | 'script'> & Partial<Lock>>({
        host: text,
        script: text,
        runId: maybe(text),
        since: maybe(having<Date>('getTime')),
      }) as Kind<Pick<Lock, 'host' | 'script'>>,
    ),
  ],
} as const;
