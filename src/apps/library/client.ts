/**
 * A typed client for the HTTP API. At run time it loads undici and neverthrow, and nothing of the API.
 * @module
 */
import { randomUUID } from 'node:crypto';
import { err, errAsync, ok, ResultAsync } from 'neverthrow';
import { type Calls, judged, wrongText } from '../../domain/core/border.js';
import { clientCalls } from './client/calls.js';
import { type ClientError, clientError } from './client/error.js';
import { follow } from './client/events.js';
import { type ApiRequest, sender } from './client/exchange.js';
import { type ApiClientOptions, type CallOptions, type RunOptions, settingsOf } from './client/options.js';
import type {
  AgentAnswer,
  AgentBody,
  AgentsAnswer,
  AgentsQuery,
  ApprovalBody,
  CancelAnswer,
  CertificatesAnswer,
  DiscoveryAnswer,
  DiscoveryBody,
  ErrorEvent,
  LocksAnswer,
  PairingAnswer,
  PairingRequestsAnswer,
  PingAnswer,
  PingBody,
  RunAnswer,
  RunBody,
  RunStatusAnswer,
  RunStreamEvent,
  RunsAnswer,
  RunsQuery,
  RunWatchEvent,
  SerialStatusAnswer,
  SubmitAnswer,
} from './client/types.js';

export type { ClientError, ClientErrorCode, ClientErrorFields } from './client/error.js';
export type { ApiClientOptions, CallOptions, RunOptions } from './client/options.js';
export type {
  AgentAnswer,
  AgentBody,
  AgentsAnswer,
  AgentsQuery,
  ApprovalBody,
  CancelAnswer,
  CertificatesAnswer,
  DiscoveryAnswer,
  DiscoveryBody,
  ErrorEvent,
  LocksAnswer,
  PairingAnswer,
  PairingRequestsAnswer,
  PingAnswer,
  PingBody,
  RunAnswer,
  RunBody,
  RunHost,
  RunHostState,
  RunStatusAnswer,
  RunStreamEvent,
  RunsAnswer,
  RunsQuery,
  RunWatchEvent,
  SerialStatusAnswer,
  SubmitAnswer,
} from './client/types.js';

type Answer<T> = ResultAsync<T, ClientError>;

/** The HTTP API. No method throws for an expected failure. At the end of an `await using` block it is closed. */
export interface ApiClient extends AsyncDisposable {
  /** Whether the API answers; needs no permission. */
  health(options?: CallOptions): Answer<{ readonly version: string }>;
  /** A mutual TLS round trip from the dispatcher to hosts. */
  ping(request: PingBody, options?: CallOptions): Answer<PingAnswer>;
  /** Scripts, tags and versions of hosts. */
  discover(request?: DiscoveryBody, options?: CallOptions): Answer<DiscoveryAnswer>;
  /** Runs a script and waits for every host. That a host failed is its result, not an error. */
  run(request: RunBody, options?: RunOptions): Answer<RunAnswer>;
  /** Has agents run a script by themselves. */
  submit(request: RunBody, options?: RunOptions): Answer<SubmitAnswer>;
  /** Runs a script and gives its output as it comes; one loop over it. Nothing is sent before the loop begins. */
  stream(request: RunBody, options?: RunOptions): AsyncIterableIterator<RunStreamEvent>;
  /** Runs a script again on the hosts where it failed. */
  retry(reqid: string, options?: RunOptions & { readonly timeout?: number }): Answer<RunAnswer>;
  /** How a run stands. */
  status(reqid: string, options?: CallOptions): Answer<RunStatusAnswer>;
  /** Runs, the latest first, a page at a time. */
  runs(query?: RunsQuery, options?: CallOptions): Answer<RunsAnswer>;
  /** How a run ends, host by host; one loop over it. */
  watch(reqid: string, options?: CallOptions): AsyncIterableIterator<RunWatchEvent>;
  /** Stops a run on its hosts, or some of them. */
  cancel(reqid: string, options?: CallOptions & { readonly hosts?: readonly string[] }): Answer<CancelAnswer>;
  /** Registered agents by name, a page at a time. */
  agents(query?: AgentsQuery, options?: CallOptions): Answer<AgentsAnswer>;
  /** One agent. */
  agent(name: string, options?: CallOptions): Answer<AgentAnswer>;
  /** Changes the name of an agent, or where it is reached. */
  editAgent(name: string, change: AgentBody, options?: CallOptions): Answer<AgentAnswer>;
  /** Forgets an agent. */
  unpair(name: string, options?: CallOptions): Answer<AgentAnswer>;
  /** Pairing requests that wait. */
  pairingRequests(options?: CallOptions): Answer<PairingRequestsAnswer>;
  /** Admits an agent whose code was compared. */
  approve(id: string, approval?: ApprovalBody, options?: CallOptions): Answer<PairingAnswer>;
  /** Turns an agent away. */
  deny(id: string, reason?: string, options?: CallOptions): Answer<PairingAnswer>;
  /** The certificates in force, and when they end. */
  certificates(options?: CallOptions): Answer<CertificatesAnswer>;
  /** The dispatcher's serials, and how each agent stands to them. */
  serialStatus(options?: CallOptions): Answer<SerialStatusAnswer>;
  /** What runs where just now. */
  locks(options?: CallOptions): Answer<LocksAnswer>;
  /** Ends what is under way as `aborted` and closes connections. */
  close(): Promise<void>;
}

/**
 * A client of the API at `url` or `socketPath`. Opens nothing before the first call; options that are wrong are the error
 * (`invalid_argument`) of every call. Redirects are not followed.
 */
export function createApiClient(options: ApiClientOptions): ApiClient {
  const made = settingsOf(options).map(sender);
  const senderFor = ({ path }: ApiRequest) =>
    made.andThen((one) => (elsewhere.test(path) ? err(notAnId) : ok(one)));

  const call = <T>(request: ApiRequest): Answer<T> =>
    senderFor(request).asyncAndThen((one) =>
      new ResultAsync(one.fetch(request)).map(({ ok: _, ...body }) => body as T),
    );
  const get = <T>(
    path: string,
    { signal }: CallOptions = {},
    query: NonNullable<ApiRequest['query']> = {},
  ): Answer<T> => call({ method: 'GET', path, query, signal });
  const post = <T>(path: string, body: unknown, { signal, idempotencyKey }: RunOptions = {}): Answer<T> =>
    call({ method: 'POST', path, body, signal, ...(idempotencyKey !== undefined && { idempotencyKey }) });
  const events = <E extends { readonly event: string }>(request: ApiRequest, kinds: readonly string[]) =>
    senderFor(request).match(
      (one): AsyncIterableIterator<E | ErrorEvent> => follow<E>(one, request, kinds),
      onlyError,
    );

  const once = (given: RunOptions = {}): RunOptions => ({ idempotencyKey: randomUUID(), ...given });
  const at = (collection: string, id: string, rest = '') =>
    `/v1/${collection}/${/\p{Surrogate}/u.test(id) ? '' : encodeURIComponent(id)}${rest}`;
  const close = async () => {
    if (made.isOk()) await made.value.close();
  };

  const methods: ApiClient = {
    health: (given) => get('/health', given),
    ping: (request, given) => post('/ping', request, given),
    discover: (request = {}, given) => post('/discovery', request, given),
    run: (request, given) => post('/v1/runs', request, once(given)),
    submit: (request, given) => post('/v1/runs', { ...request, async: true }, once(given)),
    stream: (request, given) => {
      const { signal, idempotencyKey } = given ?? {};
      const key = idempotencyKey === undefined ? {} : { idempotencyKey };
      const asked = { method: 'POST', path: '/v1/runs', body: request, signal, ...key } as const;
      return events<RunStreamEvent>(asked, ['begin', 'output', 'result', 'end']);
    },
    retry: (reqid, { timeout, ...given } = {}) =>
      post(at('runs', reqid, '/retry'), timeout === undefined ? {} : { timeout }, once(given)),
    status: (reqid, given) => get(at('runs', reqid), given),
    runs: (query, given) => get('/v1/runs', given, query),
    watch: (reqid, { signal } = {}) =>
      events<RunWatchEvent>({ method: 'GET', path: at('runs', reqid, '/events'), signal }, [
        'status',
        'host',
        'end',
      ]),
    cancel: (reqid, { hosts, ...given } = {}) =>
      post(at('runs', reqid, '/cancel'), hosts ? { hosts } : {}, given),
    agents: (query, given) => get('/v1/agents', given, query),
    agent: (name, given) => get(at('agents', name), given),
    editAgent: (name, change, { signal } = {}) =>
      call({ method: 'PATCH', path: at('agents', name), body: change, signal }),
    unpair: (name, { signal } = {}) => call({ method: 'DELETE', path: at('agents', name), signal }),
    pairingRequests: (given) => get('/v1/pairing-requests', given),
    approve: (id, approval = {}, given) => post(at('pairing-requests', id, '/approve'), approval, given),
    deny: (id, reason, given) =>
      post(at('pairing-requests', id, '/deny'), reason === undefined ? {} : { reason }, given),
    certificates: (given) => get('/v1/certificates', given),
    serialStatus: (given) => get('/v1/serial-status', given),
    locks: (given) => get('/v1/locks', given),
    close,
    [Symbol.asyncDispose]: close,
  };
  return judged(methods, clientCalls satisfies Calls<ApiClient>, (wrong, method) => {
    const error = clientError('invalid_argument', wrongText(wrong), { field: wrong.field });
    return method === 'stream' || method === 'watch' ? onlyError(error) : errAsync(error);
  });
}

/** A segment that is empty, `.` or `..`: such an id would name another path. */
const elsewhere = /\/\.{0,2}(\/|$)/;
const notAnId = clientError('invalid_argument', 'expected an id or a name', { field: undefined });

async function* onlyError(error: ClientError): AsyncGenerator<ErrorEvent> {
  yield { event: 'error', error };
}
