import { ok } from 'neverthrow';
import type { Lock } from '../../../domain/core/errors.js';
import { parseTagFilter } from '../../../domain/runs/tags.js';
import type { AgentEndpoint, AgentRecord } from '../../../domain/trust/agent-record.js';
import type { Dispatcher } from '../../../sdk/dispatcher/dispatcher.js';
import type { ListedAgent } from '../../../sdk/dispatcher/fleet/agents.js';
import { complain, type ExitCode, exitCodes, say } from '../../command-line.js';
import { type Printing, print, refused } from '../printing.js';
import { moment, table } from '../table.js';

export async function listAgents(
  dispatcher: Dispatcher,
  options: { json?: boolean; tags?: string },
): Promise<ExitCode> {
  const filter = options.tags === undefined ? ok({}) : parseTagFilter(options.tags);
  return filter
    .asyncAndThen((tags) => dispatcher.agentPage({ tags }))
    .match(({ agents }) => {
      process.stdout.write(
        options.json ? `${JSON.stringify({ ok: 1, agents: agents.map(asJson) })}\n` : asTable(agents),
      );
      return exitCodes.ok;
    }, refused(options));
}

const tagText = (tags: AgentRecord['tags']): string =>
  Object.entries(tags)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');

const asTable = (listed: readonly ListedAgent[]): string =>
  table(
    ['HOST', 'ADDRESS', 'PORT', 'STATE', 'PAIRED', 'EXPIRES', 'TAGS'],
    listed.map(({ record: { name, endpoint, pins, pairedAt, tags }, state }) => [
      name,
      endpoint.lookupBy === 'ip' ? endpoint.ip : endpoint.host,
      String(endpoint.port),
      state,
      moment(pairedAt),
      pins.length === 0 ? '-' : moment(Math.max(...pins.map((pin) => pin.notAfter))),
      tagText(tags),
    ]),
  );

const endpointJson = ({ host, ip, port, lookupBy }: AgentEndpoint) => ({
  hostname: host,
  ip,
  port,
  lookup_by: lookupBy,
});

const asJson = ({
  record: { name, endpoint, pins, pairing, pairedAt, standing, tags },
  state,
}: ListedAgent) => ({
  name,
  state,
  ...endpointJson(endpoint),
  pairing,
  // Null: it has not been seen yet.
  signed: standing.speaks === undefined ? null : standing.speaks === 'signed',
  paired: new Date(pairedAt).toISOString(),
  keys: pins.map(({ spkiSha256, state: pinned, serial, notAfter }) => ({
    spki_sha256: spkiSha256,
    state: pinned,
    serial,
    expiry: new Date(notAfter).toISOString(),
  })),
  tags,
});

export interface EditAgentOptions extends Printing {
  readonly rename?: string;
  readonly hostname?: string;
  readonly ip?: string;
  readonly agentPort?: number;
  readonly lookupBy?: 'hostname' | 'ip';
  readonly pin?: boolean;
  readonly legacy?: boolean;
}

export async function editAgent(
  dispatcher: Dispatcher,
  name: string,
  options: EditAgentOptions,
): Promise<ExitCode> {
  const { hostname: host, agentPort: port, pin, json, ...others } = options;
  if (Object.keys(options).every((name) => name === 'json')) {
    complain(
      'nothing to change: give --rename, --hostname, --ip, --agent-port, --lookup-by, --pin or --legacy',
    );
    return exitCodes.usage;
  }
  return dispatcher
    .editAgent(name, { ...others, ...(host !== undefined && { host }), ...(port !== undefined && { port }) })
    .match(({ name: now, endpoint }) => {
      const edited = { name: now, ...endpointJson(endpoint) };
      const line = `${now}: ${endpoint.lookupBy === 'ip' ? endpoint.ip : endpoint.host} port ${endpoint.port}`;
      if (pin) return pinAgent(dispatcher, edited, line, options);
      print(options, edited, [line]);
      return exitCodes.ok;
    }, refused(options));
}

/** @param edited what is known already, and `line` says */
const pinAgent = (
  dispatcher: Dispatcher,
  edited: { readonly name: string },
  line: string,
  options: Printing,
): Promise<ExitCode> => {
  if (!options.json) say(line);
  return dispatcher.pinAgent(edited.name).match(({ pin }) => {
    print(options, { ...edited, pinned: { spki_sha256: pin.spkiSha256, serial: pin.serial } }, [
      `${edited.name}: pinned the key with SHA-256 ${pin.spkiSha256} (certificate ${pin.serial})`,
    ]);
    return exitCodes.ok;
  }, refused(options));
};

/** Exit code of `unpair` where no agent has the name, as deployed. */
const unknownAgent = 2;

export function unpair(dispatcher: Dispatcher, name: string, options: Printing): Promise<ExitCode> {
  return dispatcher.unpair(name).match(
    (record) => {
      print(options, { name: record.name }, [`Unpaired ${record.name}: its key answers for nobody any more`]);
      return exitCodes.ok;
    },
    (error) => {
      const code = refused(options)(error);
      return error.code === 'agent_unknown' ? unknownAgent : code;
    },
  );
}

const lockJson = ({ runId: reqid, ...lock }: Lock) => ({ ...lock, reqid });

export function listLocks(dispatcher: Dispatcher, options: { json?: boolean }): Promise<ExitCode> {
  return dispatcher.locks().match((locks) => {
    process.stdout.write(
      options.json
        ? `${JSON.stringify({ ok: 1, locks: locks.map(lockJson) })}\n`
        : table(
            ['HOST', 'SCRIPT', 'REQID', 'SINCE'],
            locks.map(({ host, script, runId, since }) => [host, script, runId, moment(since.getTime())]),
          ),
    );
    return exitCodes.ok;
  }, refused(options));
}

export function releaseLock(
  dispatcher: Dispatcher,
  host: string,
  script: string,
  options: Printing,
): Promise<ExitCode> {
  return dispatcher.releaseLock({ host, script }).match((freed) => {
    const lines = freed.map(
      (lock) =>
        `Released ${lock.host}:${lock.script}, held by run ${lock.runId}: see on the host whether it still runs`,
    );
    print(options, { locks: freed.map(lockJson) }, lines);
    return exitCodes.ok;
  }, refused(options));
}
