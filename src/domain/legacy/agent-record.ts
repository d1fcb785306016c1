import { err, ok, type Result } from 'neverthrow';
import { isHostName } from '../core/host-argument.js';
import { shortestAddress } from '../core/ip-prefix.js';
import { parseJsonObject } from '../core/json.js';
import { agentName, printable } from '../core/names.js';
import { agentPort } from '../protocol/agent-protocol.js';
import type { AgentEndpoint } from '../trust/agent-record.js';
import { canonicalSerial } from '../trust/serial.js';

/** An agent as another installation has registered it. Nothing there says what its key is. */
export interface LegacyAgent {
  readonly name: string;
  readonly endpoint: AgentEndpoint;
  readonly tags: Readonly<Record<string, string>>;
  /** Epoch milliseconds; undefined where it is not said. */
  readonly pairedAt: number | undefined;
  /**
   * Serial of the dispatcher that it trusts, as written: a change of the identity leaves it as it was until the agent has
   * confirmed the new one. Undefined: not known.
   */
  readonly trusts: string | undefined;
  /** The installation had told it of a new identity, in vain so far (`pending`) or for good (`stale`). */
  readonly behind: 'pending' | 'stale' | undefined;
}

/** `fragment`: notes about a host that was never paired under this name; there is nothing to take. */
export type Unusable = { readonly kind: 'fragment' | 'unusable'; readonly reason: string };

/**
 * Reads `agents/NAME.json`. Fields of 0.8: hostname, ip, paired, expiry, reqid, dispatcher_serial, serial_status and its times;
 * later ones add lookup_by, port and tags. Unknown fields are ignored.
 * @param fileName without its directory
 */
export function parseLegacyAgent(fileName: string, text: string): Result<LegacyAgent, Unusable> {
  const unusable = (reason: string) => err<LegacyAgent, Unusable>({ kind: 'unusable', reason });
  const parsed = parseJsonObject(text);
  if (parsed.isErr()) return unusable(parsed.error);
  const record = parsed.value;
  const field = (name: string) => {
    const value = record[name];
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  if (field('ip') === undefined && field('paired') === undefined)
    return err({ kind: 'fragment', reason: 'it holds no pairing' });

  const stem = fileName.replace(/\.json$/, '');
  const name = agentName(stem);
  if (name.isErr()) return unusable(name.error.message);
  const host = field('hostname') ?? stem;
  if (!isHostName(host)) return unusable(`"hostname" is "${printable(host, 80)}", expected a host name`);
  const given = field('ip');
  const ip = given === undefined ? undefined : shortestAddress(given);
  if (ip === undefined)
    return unusable(
      `"ip" ${given === undefined ? 'is missing' : `is "${printable(given, 80)}"`}, expected an address`,
    );
  const port = portOf(record['port']);
  if (port === undefined) return unusable('"port" is not a port from 1 to 65535');
  const lookupBy = record['lookup_by'] ?? 'hostname';
  if (lookupBy !== 'hostname' && lookupBy !== 'ip')
    return unusable('"lookup_by" is neither "hostname" nor "ip"');

  const pairedAt = Date.parse(field('paired') ?? '');
  const serial = field('dispatcher_serial');
  const status = record['serial_status'];
  return ok({
    name: name.value,
    endpoint: { host, ip, port, lookupBy },
    tags: tagsOf(record['tags']),
    pairedAt: pairedAt >= 0 ? pairedAt : undefined,
    trusts: serial !== undefined && canonicalSerial(serial) !== undefined ? serial : undefined,
    behind: status === 'pending' || status === 'stale' ? status : undefined,
  });
}

/** A number, or the text of one, as those versions wrote it by turns. */
function portOf(value: unknown): number | undefined {
  if (value === undefined || value === null || value === '') return agentPort;
  const port = typeof value === 'string' && /^[0-9]{1,5}$/.test(value) ? Number(value) : value;
  return typeof port === 'number' && Number.isInteger(port) && port >= 1 && port <= 65_535 ? port : undefined;
}

function tagsOf(value: unknown): Readonly<Record<string, string>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return {};
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, tag]: [string, unknown]): readonly (readonly [string, string])[] =>
      typeof tag === 'string' || typeof tag === 'number'
        ? [[printable(key, 128), printable(String(tag), 1024)]]
        : [],
    ),
  );
}
