import { err, errAsync, ok, type Result, type ResultAsync, safeTry } from 'neverthrow';
import { closest } from '../../../domain/core/closest.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { isHostName, newAgentName } from '../../../domain/core/host-argument.js';
import { shortestAddress } from '../../../domain/core/ip-prefix.js';
import { agentName } from '../../../domain/core/names.js';
import type { AgentEndpoint, AgentRecord } from '../../../domain/trust/agent-record.js';
import type { DispatcherContext } from '../context.js';

/** What an operator may change of a registered agent; what is left out stays. */
export interface AgentEdit {
  /** The new registry name. The key stays pinned; the certificate keeps the name that it was issued for. */
  readonly rename?: string;
  /** Host name to dial where `lookupBy` is `hostname`. */
  readonly host?: string;
  /** Address to dial where `lookupBy` is `ip`. */
  readonly ip?: string;
  /** Operational port, 1 to 65535. */
  readonly port?: number;
  readonly lookupBy?: 'hostname' | 'ip';
  /** Forget that it has signed answers: it is a legacy agent (again). */
  readonly legacy?: boolean;
}

type EditFailure = CtrlExecError<'agent_exists' | 'agent_unknown' | 'invalid_argument' | 'store_failed'>;

const invalid = (field: string, reason: string): CtrlExecError<'invalid_argument'> =>
  failure('invalid_argument', `${field}: ${reason}`, { field, reason });

/** Changes where an agent is reached, its name, or both: all of it or nothing. */
export function editAgent(
  context: DispatcherContext,
  name: string,
  edit: AgentEdit,
): ResultAsync<AgentRecord, EditFailure> {
  const { events, registry } = context;
  return safeTry(async function* () {
    const current = yield* agentName(name);
    const to = edit.rename === undefined ? current : yield* newAgentName(edit.rename, 'rename');
    const endpoint = yield* changed(edit);
    const edited = yield* registry
      .update(current, { name: to, endpoint, ...(edit.legacy && { unsigned: true as const }) })
      .orElse((error) => (error.code === 'agent_unknown' ? unknown(context, current) : errAsync(error)));
    const { host, ip, port, lookupBy } = edited.endpoint;
    const from = to === current ? undefined : current;
    events.emit({
      action: 'agent-edited',
      fields: { host: to, from, hostname: host, ip, port, lookup: lookupBy },
    });
    return ok(edited);
  });
}

function changed({
  host,
  ip,
  port,
  lookupBy,
}: AgentEdit): Result<Partial<AgentEndpoint>, CtrlExecError<'invalid_argument'>> {
  const address = ip === undefined ? undefined : shortestAddress(ip);
  if (ip !== undefined && address === undefined)
    return err(invalid('ip', 'an IPv4 or IPv6 address is expected'));
  if (host !== undefined && !isHostName(host)) return err(invalid('hostname', 'a host name is expected'));
  if (port !== undefined && !(Number.isInteger(port) && port >= 1 && port <= 65_535))
    return err(invalid('port', 'a port from 1 to 65535 is expected'));
  return ok({
    ...(host !== undefined && { host }),
    ...(address !== undefined && { ip: address }),
    ...(port !== undefined && { port }),
    ...(lookupBy !== undefined && { lookupBy }),
  });
}

/** One agent of the registry. */
export function findAgent(
  context: DispatcherContext,
  name: string,
): ResultAsync<AgentRecord, CtrlExecError<'agent_unknown' | 'invalid_argument' | 'store_failed'>> {
  return safeTry(async function* () {
    const known = yield* agentName(name);
    const record = yield* context.registry.find(known);
    return record ? ok(record) : unknown(context, known);
  });
}

/** Forgets an agent: its key answers for nobody any more. */
export function unpairAgent(
  context: DispatcherContext,
  name: string,
): ResultAsync<AgentRecord, CtrlExecError<'agent_unknown' | 'invalid_argument' | 'store_failed'>> {
  const { clock, events, pairing } = context;
  return agentName(name)
    .asyncAndThen((known) =>
      pairing
        .unpair({ name: known, at: clock.now() })
        .orElse((error) => (error.code === 'agent_unknown' ? unknown(context, known) : errAsync(error))),
    )
    .andTee((record) => events.emit({ action: 'unpaired', fields: { host: record.name } }));
}

/** Nobody has this name; says whose is near it. */
export const unknown = ({ registry }: DispatcherContext, name: string) =>
  registry
    .list()
    .map((records) =>
      closest(
        name,
        records.map((record) => record.name),
      ),
    )
    .orElse(() => ok(undefined))
    .andThen((near) => {
      const hint = near === undefined ? 'see the list of agents' : `did you mean ${near}?`;
      return err(
        failure('agent_unknown', `no agent of that name is registered: ${name} (${hint})`, { name }),
      );
    });
