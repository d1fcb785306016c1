import { printable } from '../../../domain/core/names.js';
import {
  type LegacyAgent,
  parseLegacyAgent,
  parseLegacyRotation,
} from '../../../domain/legacy/agent-record.js';
import type { ImportLines } from '../../../domain/legacy/import-report.js';
import { meantSerial } from '../../../domain/legacy/serial.js';
import type { AgentRecord } from '../../../domain/trust/agent-record.js';
import { type AgentStanding, newStanding } from '../../../domain/trust/agent-standing.js';
import type { Adoption } from '../../../ports/registry.js';
import type { ControlHostSources } from './sources.js';

/** An agent of the other installation, and the serial of the dispatcher that it trusts, as far as that is known. */
interface KnownAgent {
  readonly agent: LegacyAgent;
  readonly path: string;
  /** Canonical. */
  readonly serial: string | undefined;
}

/**
 * Reads the records; what cannot be used costs only itself.
 * @param own canonical serials of identities whose keys are known
 */
export function readAgents(
  { agents, rotation, directory }: ControlHostSources,
  own: readonly string[],
  lines: ImportLines,
): readonly KnownAgent[] {
  const previous = parseLegacyRotation(rotation?.text ?? '{}');
  const known = [...own, ...(previous === undefined ? [] : [meantSerial(previous, own) ?? previous])];
  const read = new Map<string, KnownAgent>();
  for (const { path, fileName, text, reason } of agents) {
    const skip = (why: string) =>
      lines.skipped.push({
        what: `agent ${printable(fileName, 100)}`,
        detail: `${printable(path, 1024)}: ${why}`,
      });
    if (text === undefined) {
      skip(reason ?? 'it is gone');
      continue;
    }
    const parsed = parseLegacyAgent(fileName, text);
    if (parsed.isErr()) {
      if (parsed.error.kind === 'unusable') skip(parsed.error.reason);
      else lines.warnings.push(`${printable(path, 1024)} is left out: ${parsed.error.reason}`);
      continue;
    }
    const agent = parsed.value;
    const same = read.get(agent.name);
    if (same) {
      skip(
        `${agent.name} is also registered by ${printable(same.path, 1024)}; names do not differ by case here`,
      );
      continue;
    }
    const serial = agent.trusts === undefined ? undefined : meantSerial(agent.trusts, known);
    read.set(agent.name, { agent, path, serial });
  }
  if (agents.length === 0)
    lines.warnings.push(
      `no records of agents were found for ${directory.path}: if they lie elsewhere, name their directory with --state`,
    );
  return [...read.values()];
}

/**
 * Which of them are new here.
 * @param registered those that are here already
 * @param former names that were here, until they were renamed or unpaired
 */
export function planAgents(
  agents: readonly KnownAgent[],
  registered: readonly AgentRecord[],
  former: readonly string[],
  now: number,
  lines: ImportLines,
): readonly Adoption[] {
  const byName = new Map(registered.map((record) => [record.name, record]));
  return agents.flatMap(({ agent, serial }): readonly Adoption[] => {
    const { name, endpoint, tags, pairedAt = now } = agent;
    const { host, ip, port, lookupBy } = endpoint;
    const there = `${host}, ${ip}, port ${port}, by ${lookupBy}`;
    const here = byName.get(name);
    if (here) {
      const same =
        here.endpoint.host === host &&
        here.endpoint.ip === ip &&
        here.endpoint.port === port &&
        here.endpoint.lookupBy === lookupBy;
      const { endpoint: ours } = here;
      lines.kept.push({
        what: `agent ${name}`,
        detail: same
          ? 'is registered already'
          : `is registered as ${ours.host}, ${ours.ip}, port ${ours.port}, by ${ours.lookupBy} (there: ${there}); edit-agent changes it`,
      });
      return [];
    }
    if (former.includes(name)) {
      lines.kept.push({
        what: `agent ${name}`,
        detail:
          'was registered here, and was renamed or unpaired since: it is not brought back; pair it again',
      });
      return [];
    }
    lines.imported.push({ what: `agent ${name}`, detail: there });
    const standing: AgentStanding = newStanding(serial === undefined ? [] : [serial]);
    return [{ name, endpoint, tags, standing, pairedAt }];
  });
}

/** Agents that were left behind by a change of the identity: nobody has a key that they trust. */
export function reportStranded(
  agents: readonly KnownAgent[],
  own: { readonly current: string; readonly id: string; readonly held: readonly string[] },
  standings: ReadonlyMap<string, AgentStanding>,
  lines: ImportLines,
): void {
  const bySerial = new Map<string, string[]>();
  for (const { agent, serial } of agents) {
    const trusted = [
      ...(standings.get(agent.name)?.serials ?? []),
      ...(serial === undefined ? [] : [serial]),
    ];
    if (serial === undefined || trusted.some((each) => own.held.includes(each))) continue;
    bySerial.set(serial, [
      ...(bySerial.get(serial) ?? []),
      agent.behind ? `${agent.name} (${agent.behind})` : agent.name,
    ]);
  }
  // Older agents compare what openssl prints: an even number of digits.
  const shown = own.current.length % 2 === 0 ? own.current : `0${own.current}`;
  for (const [serial, names] of bySerial)
    lines.warnings.push(
      `nobody has the key of dispatcher certificate ${serial}, and these agents trust no other: ${names.join(', ')}. On each, add the line "${shown} ${own.id}" to ctrl-exec-dispatchers (before 0.9: write ${shown} into ctrl-exec-serial) and restart the agent, or pair it again`,
    );
  const unsure = agents.filter(({ serial }) => serial === undefined).map(({ agent }) => agent.name);
  if (unsure.length > 0)
    lines.warnings.push(
      `it is not known which dispatcher certificate these agents trust; the first contact shows it: ${unsure.join(', ')}`,
    );
}
