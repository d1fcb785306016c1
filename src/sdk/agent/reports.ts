import type { CtrlExecError } from '../../domain/core/errors.js';
import { parseJsonObject } from '../../domain/core/json.js';
import { agentFeatures } from '../../domain/protocol/agent-protocol.js';
import { type HttpAnswer, jsonAnswer } from '../../domain/protocol/http-message.js';
import { concurrencyOf, isActionPath } from '../../domain/runs/action.js';
import { opensslTime } from '../../domain/trust/certificate.js';
import { parallel } from '../core/parallel.js';
import type { AgentContext } from './context.js';
import type { Current } from './served.js';
import type { AgentState } from './state.js';
import type { CallingDispatcher } from './trust/recognise.js';
import { crlNumber } from './trust/revocation-lists.js';

/** Files that a ping tells of; self-check shows all. */
const mostProblems = 8;

/** Answers `POST /ping` (wire-protocol 1.2, 2.4). */
export function answerPing(
  context: AgentContext,
  { state, identity }: Current,
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
  const problems = [
    ...(state.denied.problem ? [problemFor(state.denied.problem)] : []),
    ...state.distrusted.slice(0, mostProblems),
  ];
  return jsonAnswer(200, {
    status: 'ok',
    host: context.hostName,
    version: context.version,
    expiry: opensslTime(identity.certificate.notAfter),
    staged: false,
    features: agentFeatures,
    crl_number: crlNumber(context, state, caller.id),
    ...(problems.length > 0 && { problems }),
    ...(reqid !== undefined && { reqid }),
  });
}

/** What a dispatcher is told of a file of revoked serials that is damaged: nothing that stands in it. */
const problemFor = (problem: CtrlExecError): string =>
  problem.code === 'config_invalid'
    ? `revoked_serials: line ${problem.line} is not understood`
    : 'revoked_serials: the file cannot be read';

/** Answers `GET /capabilities` (wire-protocol 1.2). */
export async function capabilities(
  context: AgentContext,
  state: AgentState,
  caller: CallingDispatcher,
): Promise<HttpAnswer> {
  const { events, hostName: host, version } = context;
  events.emit({ action: 'capabilities-answered', fields: { dispatcher: caller.id, ip: caller.address } });
  const sorted = [...state.scripts.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  const scripts = await parallel(sorted, 16, async ({ name, path, profile, schema, schemaVersion }) => {
    const concurrency = concurrencyOf(context.actions.functions, name);
    return {
      name,
      path,
      executable: isActionPath(path) || (await context.files.isExecutable(path).unwrapOr(false)),
      ...(profile !== undefined && { profile }),
      ...(concurrency > 1 && { concurrency }),
      ...(schema && { schema, schema_version: schemaVersion }),
    };
  });
  return jsonAnswer(200, {
    status: 'ok',
    host,
    version,
    features: agentFeatures,
    tags: state.settings.tags,
    scripts,
  });
}
