import { ok, type ResultAsync, safeTry } from 'neverthrow';
import { maxRequestBody } from '../../domain/agent-protocol.js';
import { opensslTime } from '../../domain/certificate.js';
import type { CtrlExecError } from '../../domain/errors.js';
import { type HttpAnswer, jsonAnswer } from '../../domain/http-message.js';
import { contains } from '../../domain/ip-prefix.js';
import { parseJsonObject } from '../../domain/json.js';
import { trustedAs } from '../../domain/trust.js';
import type { IncomingRequest } from '../../ports/listener.js';
import { inTurn, parallel } from '../parallel.js';
import { refusalLog } from '../refusals.js';
import type { AgentContext } from './context.js';
import { type CallingDispatcher, runScript } from './run-script.js';
import { type AgentIdentity, type AgentState, loadState, requireIdentity } from './state.js';

/** An agent that serves. */
export interface ServingAgent {
  readonly port: number;
  readonly bind: string;
  /** What was wrong, but not fatal, at the last load; one line each. */
  warnings(): readonly string[];
  /**
   * Reads configuration, allowlist, sidecars, trust, revocations, tags and certificates anew, without dropping a
   * connection. Err: something does not parse, and everything stays as it was. Port and bind need a restart.
   */
  reload(): ResultAsync<void, CtrlExecError>;
  /** Refuses new work, lets what runs finish for at most `grace` milliseconds, then closes. Default: 30,000. */
  close(grace?: number): Promise<void>;
}

export interface ServeOptions {
  /** 0 lets the system choose. Default: `port` of the configuration. */
  readonly port?: number;
  /** Default: `bind` of the configuration. */
  readonly bind?: string;
}

/** Serves `/run`, `/ping` and `/capabilities` to trusted dispatchers (wire-protocol 1.2). */
export function serve(
  context: AgentContext,
  options: ServeOptions = {},
): ResultAsync<ServingAgent, CtrlExecError> {
  return safeTry(async function* () {
    let state = yield* loadState(context);
    let identity = yield* requireIdentity(state);
    const runs: Runs = { underWay: 0, stopping: new AbortController() };
    const bind = options.bind ?? state.settings.bind;
    const { clock, events } = context;
    const refused = refusalLog(clock, (ip, reason, more) =>
      events.emit({ action: 'connection-refused', level: 'warning', fields: { ip, reason, more } }),
    );
    const inOrder = inTurn();
    const listening = yield* context.listener.listen({
      bind,
      port: options.port ?? state.settings.port,
      credentials: identity.credentials,
      clientCas: identity.cas,
      maxBody: maxRequestBody,
      maxConnections: state.settings.maxConnections,
      maxUnknownPerAddress: Math.max(16, Math.ceil(state.settings.maxConnections / 16)),
      accept: (address) => {
        const allowed = isAllowed(state, address);
        if (!allowed) refused(address, notAllowed);
        return allowed;
      },
      refused,
      handle: (request) => answer(context, () => ({ state, identity }), runs, request),
      failed: (error) =>
        events.emit({ action: 'internal-error', level: 'error', fields: { reason: String(error) } }),
    });
    const report = () => {
      for (const warning of state.warnings)
        events.emit({ action: 'warning', level: 'warning', fields: { reason: warning } });
    };
    events.emit({ action: 'serving', fields: { bind, port: listening.port, scripts: state.scripts.size } });
    report();
    return ok({
      port: listening.port,
      bind,
      warnings: () => state.warnings,
      // One after the other, or an older reading could come last and stay in force.
      reload: () =>
        inOrder(() =>
          loadState(context)
            .andThen((loaded) => requireIdentity(loaded).map((found) => ({ loaded, found })))
            .map(({ loaded, found }) => {
              state = loaded;
              identity = found;
              listening.renew(found.credentials, found.cas);
              events.emit({ action: 'reloaded', fields: { scripts: loaded.scripts.size } });
              report();
            })
            .mapErr((error) => {
              events.emit({ action: 'reload-failed', level: 'error', fields: { reason: error.message } });
              return error;
            }),
        ),
      close: async (grace = 30_000) => {
        const cancel = clock.after(grace, () => runs.stopping.abort());
        await listening.close(grace + killTime);
        cancel();
        events.emit({ action: 'stopped', fields: { port: listening.port } });
      },
    } satisfies ServingAgent);
  });
}

/** Milliseconds that a script has between SIGTERM and SIGKILL, and some for its answer. */
const killTime = 7000;

interface Runs {
  underWay: number;
  /** Aborted when the agent stops and has waited long enough. */
  readonly stopping: AbortController;
}

const notAllowed = 'not in allowed_ips';

const isAllowed = ({ settings: { allowedIps } }: AgentState, address: string): boolean =>
  allowedIps === undefined || contains(allowedIps, address);

/** `current` is asked again after every wait: what was revoked meanwhile is refused. */
async function answer(
  context: AgentContext,
  current: () => { readonly state: AgentState; readonly identity: AgentIdentity },
  runs: Runs,
  request: IncomingRequest,
): Promise<HttpAnswer> {
  const { state } = current();
  const caller = recognise(context, state, request);
  if ('status' in caller) return caller;
  const withBody = async (
    then: (body: Uint8Array, caller: CallingDispatcher) => HttpAnswer | Promise<HttpAnswer>,
  ): Promise<HttpAnswer> => {
    const body = await request.body();
    if (body.isErr()) return bodyMissing(body.error);
    const again = recognise(context, current().state, request);
    return 'status' in again ? again : then(body.value, again);
  };
  const route = `${request.method} ${request.path}`;
  switch (route) {
    case 'GET /capabilities':
      context.events.emit({
        action: 'capabilities-answered',
        fields: { dispatcher: caller.id, ip: caller.address },
      });
      return capabilities(context, state);
    case 'POST /ping':
      return withBody((body, known) => ping(context, current().identity, known, body));
    case 'POST /run':
      return withBody((body, known) => runBounded(context, current().state, known, runs, body));
    default:
      return jsonAnswer(404, { error: 'not found' });
  }
}

/** The dispatcher that calls, or the refusal: before the body is read. */
function recognise(
  { events }: AgentContext,
  state: AgentState,
  { peer, path }: IncomingRequest,
): CallingDispatcher | HttpAnswer {
  const serial = peer.certificate?.serial ?? '';
  const revoked = state.revoked.has(serial);
  const id = trustedAs(state.trust, serial);
  if (id !== undefined && !revoked && isAllowed(state, peer.address))
    return { id, serial, address: peer.address };
  const allowed = isAllowed(state, peer.address);
  const reason = !allowed ? notAllowed : revoked ? 'certificate revoked' : 'serial mismatch';
  events.emit({
    action: 'request-refused',
    level: 'warning',
    fields: { ip: peer.address, path, serial, name: peer.certificate?.commonName, reason },
  });
  if (revoked || !allowed) return jsonAnswer(403, { error: reason });
  return path === '/capabilities'
    ? jsonAnswer(403, { error: 'forbidden' })
    : jsonAnswer(403, { error: reason, status: 'forbidden' });
}

const bodyMissing = (error: CtrlExecError): HttpAnswer =>
  error.code === 'too_large'
    ? jsonAnswer(413, { error: `request body larger than ${maxRequestBody} bytes` })
    : jsonAnswer(400, { error: 'request body incomplete' });

async function runBounded(
  context: AgentContext,
  state: AgentState,
  caller: CallingDispatcher,
  runs: Runs,
  body: Uint8Array,
): Promise<HttpAnswer> {
  const limit = state.settings.maxRuns;
  if (runs.underWay >= limit) {
    context.events.emit({
      action: 'run-refused',
      level: 'warning',
      fields: {
        script: undefined,
        reqid: undefined,
        dispatcher: caller.id,
        ip: caller.address,
        reason: `${limit} runs at a time`,
      },
    });
    return jsonAnswer(503, { error: `busy: ${limit} runs are under way` }, [['retry-after', '5']]);
  }
  runs.underWay += 1;
  try {
    return await runScript(context, state, caller, body, runs.stopping.signal);
  } finally {
    runs.underWay -= 1;
  }
}

function ping(
  context: AgentContext,
  identity: AgentIdentity,
  caller: CallingDispatcher,
  body: Uint8Array,
): HttpAnswer {
  const parsed = parseJsonObject(body);
  const given = parsed.isOk() ? parsed.value['reqid'] : undefined;
  const reqid = typeof given === 'string' ? given.slice(0, 64) : undefined;
  context.events.emit({
    action: 'ping-answered',
    fields: { reqid, dispatcher: caller.id, ip: caller.address },
  });
  return jsonAnswer(200, {
    status: 'ok',
    host: context.hostName,
    version: context.version,
    expiry: opensslTime(identity.certificate.notAfter),
    staged: false,
    ...(reqid !== undefined && { reqid }),
  });
}

async function capabilities(context: AgentContext, state: AgentState): Promise<HttpAnswer> {
  const sorted = [...state.scripts.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  const scripts = await parallel(sorted, 16, async ({ name, path, profile, schema, schemaVersion }) => ({
    name,
    path,
    executable: await context.files.isExecutable(path).unwrapOr(false),
    ...(profile !== undefined && { profile }),
    ...(schema && { schema, schema_version: schemaVersion }),
  }));
  const { hostName: host, version } = context;
  return jsonAnswer(200, { status: 'ok', host, version, tags: state.settings.tags, scripts });
}
