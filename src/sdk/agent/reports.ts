import type { CtrlExecError } from '../../domain/core/errors.js';
import { agentFeatures, type Identified } from '../../domain/protocol/agent-messages.js';
import { concurrencyOf, isActionPath } from '../../domain/runs/action.js';
import { opensslTime } from '../../domain/trust/certificate.js';
import { parallel } from '../core/parallel.js';
import type { OutcomeOf } from '../protocol/endpoint.js';
import type * as endpoints from '../protocol/endpoints.js';
import type { Caller } from '../protocol/handler.js';
import type { AgentContext } from './context.js';
import type { CurrentState } from './state/served.js';
import { crlNumber } from './trust/revocation-lists.js';

/** Files that a ping tells of; self-check shows all. */
const mostProblems = 8;

/** Answers `POST /ping` (wire-protocol 1.2, 2.4). */
export function answerPing(
  context: AgentContext,
  { state, identity }: CurrentState,
  caller: Caller,
  { reqid }: Identified,
): OutcomeOf<typeof endpoints.ping> {
  context.events.emit({
    action: 'ping-answered',
    fields: { reqid, dispatcher: caller.id, ip: caller.address },
  });
  return {
    outcome: 'pong',
    reportedHostname: context.hostName,
    version: context.version,
    expiry: opensslTime(identity.certificate.notAfter),
    staged: false,
    features: agentFeatures,
    crlNumber: crlNumber(context, state, caller.id),
    problems: [
      ...(state.denied.problem ? [problemFor(state.denied.problem)] : []),
      ...state.distrusted.slice(0, mostProblems),
    ],
    reqid,
  };
}

/** What a dispatcher is told of a file of revoked serials that is damaged: nothing that stands in it. */
const problemFor = (problem: CtrlExecError): string =>
  problem.code === 'config_invalid'
    ? `revoked_serials: line ${problem.line} is not understood`
    : 'revoked_serials: the file cannot be read';

/** Answers `GET /capabilities` (wire-protocol 1.2). */
export async function answerDiscovery(
  context: AgentContext,
  { state }: CurrentState,
  caller: Caller,
): Promise<OutcomeOf<typeof endpoints.discovery>> {
  const { events, hostName: reportedHostname, version } = context;
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
      ...(schema && { schema, ...(schemaVersion !== undefined && { schema_version: schemaVersion }) }),
    };
  });
  const { tags } = state.settings;
  return { outcome: 'capabilities', reportedHostname, version, features: agentFeatures, tags, scripts };
}
