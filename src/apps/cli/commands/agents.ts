import { ok, ResultAsync } from 'neverthrow';
import { parseTagFilter } from '../../../domain/runs/tags.js';
import type { AgentRecord } from '../../../domain/trust/agent-record.js';
import type { Dispatcher } from '../../../sdk/dispatcher/dispatcher.js';
import { complain, type ExitCode, exitCodes, report, say } from '../../command-line.js';
import { moment, table } from '../table.js';

export async function listAgents(
  dispatcher: Dispatcher,
  options: { json?: boolean; tags?: string },
): Promise<ExitCode> {
  const filter = options.tags === undefined ? ok({}) : parseTagFilter(options.tags);
  return filter
    .asyncAndThen((tags) => ResultAsync.combine([dispatcher.agents(tags), dispatcher.revocations()]))
    .match(([records, revocations]) => {
      const revoked = new Set(revocations.map(({ serial }) => serial));
      const listed = records.map((record) => ({ record, state: stateOf(record, revoked) }));
      process.stdout.write(
        options.json ? `${JSON.stringify({ ok: 1, agents: listed.map(asJson) })}\n` : asTable(listed),
      );
      return exitCodes.ok;
    }, report);
}

interface Listed {
  readonly record: AgentRecord;
  readonly state: 'active' | 'issued' | 'revoked' | 'expired' | 'unpinned';
}

function stateOf({ pins, adopted }: AgentRecord, revoked: ReadonlySet<string>): Listed['state'] {
  if (adopted) return 'unpinned';
  if (pins.every(({ serial }) => revoked.has(serial))) return 'revoked';
  if (pins.every(({ notAfter }) => notAfter < Date.now())) return 'expired';
  return pins.some(({ state }) => state === 'active') ? 'active' : 'issued';
}

const tagText = (tags: AgentRecord['tags']): string =>
  Object.entries(tags)
    .map(([key, value]) => `${key}=${value}`)
    .join(',');

const asTable = (listed: readonly Listed[]): string =>
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

const asJson = ({ record: { name, endpoint, pins, pairing, pairedAt, standing, tags }, state }: Listed) => ({
  name,
  state,
  hostname: endpoint.host,
  ip: endpoint.ip,
  port: endpoint.port,
  lookup_by: endpoint.lookupBy,
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

export interface EditAgentOptions {
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
  if (Object.keys(options).length === 0) {
    complain(
      'nothing to change: give --rename, --hostname, --ip, --agent-port, --lookup-by, --pin or --legacy',
    );
    return exitCodes.usage;
  }
  const { hostname: host, agentPort: port, pin, ...others } = options;
  return dispatcher
    .editAgent(name, { ...others, ...(host !== undefined && { host }), ...(port !== undefined && { port }) })
    .match(({ name: now, endpoint }) => {
      say(`${now}: ${endpoint.lookupBy === 'ip' ? endpoint.ip : endpoint.host} port ${endpoint.port}`);
      return pin ? pinAgent(dispatcher, now) : exitCodes.ok;
    }, report);
}

const pinAgent = (dispatcher: Dispatcher, name: string): Promise<ExitCode> =>
  dispatcher.pinAgent(name).match(({ pin }) => {
    say(`${name}: pinned the key with SHA-256 ${pin.spkiSha256} (certificate ${pin.serial})`);
    return exitCodes.ok;
  }, report);

/** Exit code of `unpair` where no agent has the name, as deployed. */
const unknownAgent = 2;

export function unpair(dispatcher: Dispatcher, name: string): Promise<ExitCode> {
  return dispatcher.unpair(name).match(
    (record) => {
      say(`Unpaired ${record.name}: its key answers for nobody any more`);
      return exitCodes.ok;
    },
    (error) => {
      const code = report(error);
      return error.code === 'agent_unknown' ? unknownAgent : code;
    },
  );
}

export function listLocks(dispatcher: Dispatcher, options: { json?: boolean }): Promise<ExitCode> {
  return dispatcher.locks().match((locks) => {
    process.stdout.write(
      options.json
        ? `${JSON.stringify({ ok: 1, locks: locks.map(({ runId: reqid, ...lock }) => ({ ...lock, reqid })) })}\n`
        : table(
            ['HOST', 'SCRIPT', 'REQID', 'SINCE'],
            locks.map(({ host, script, runId, since }) => [host, script, runId, moment(since.getTime())]),
          ),
    );
    return exitCodes.ok;
  }, report);
}

export function releaseLock(dispatcher: Dispatcher, host: string, script: string): Promise<ExitCode> {
  return dispatcher.releaseLock({ host, script }).match((freed) => {
    for (const lock of freed)
      say(
        `Released ${lock.host}:${lock.script}, held by run ${lock.runId}: see on the host whether it still runs`,
      );
    return exitCodes.ok;
  }, report);
}
