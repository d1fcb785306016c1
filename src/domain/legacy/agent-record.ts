import { err, ok, type Result } from 'neverthrow';
import { isJsonObject, textIn } from '../core/decode.js';
import { agentPort, isHostName } from '../core/host-argument.js';
import { shortestAddress } from '../core/ip-prefix.js';
import { parseJsonObject } from '../core/json.js';
import { agentName, printable } from '../core/names.js';
import type { AgentEndpoint } from '../trust/agent-record.js';
import { canonicalSerial } from '../trust/serial.js';
import { portField } from './pairing.js';

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
  const field = (name: string) => textIn(record, name) || undefined;
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
  const port = portField.read(record['port'] === '' ? agentPort : (record['port'] ?? agentPort));
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

function tagsOf(value: unknown): Readonly<Record<string, string>> {
  if (!isJsonObject(value)) return {};
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, tag]: [string, unknown]): readonly (readonly [string, string])[] =>
      typeof tag === 'string' || typeof tag === 'number'
        ? [[printable(key, 128), printable(String(tag), 1024)]]
        : [],
    ),
  );
}

/**
 * The serial before the present one that another installation noted in its `rotation.json`, as it is written there (see
 * `meantSerial`). It kept no key of it. Undefined: none is noted, or the file is not understood.
 */
export function parseLegacyRotation(text: string): string | undefined {
  const previous = parseJsonObject(text).map((value) => textIn(value, 'previous_serial'));
  const serial = previous.unwrapOr(undefined) ?? '';
  return canonicalSerial(serial) === undefined ? undefined : serial;
}
