import { err, type Result } from 'neverthrow';
import type { ConfigurationEntries, ParsedConfiguration } from '../core/configuration.js';
import type { CtrlExecError } from '../core/errors.js';
import type { FileTrust } from '../core/file-trust.js';
import { agentPort } from '../core/host-argument.js';
import { type Prefixes, parsePrefixes } from '../core/ip-prefix.js';
import { printable } from '../core/names.js';
import type { RateLimit } from '../protocol/source-limits.js';
import { type EventLogSetting, eventLogSetting } from './event-log.js';
import {
  bindAddress,
  boolean,
  commaList,
  directories,
  type Field,
  fileTrust,
  inDirectory,
  integer,
  optional,
  path,
  port,
  rateLimit,
  seconds,
} from './fields.js';
import { type SettingsAndWarnings, settingsReader } from './reader.js';

/** Everything that `agent.conf` sets. Paths are absolute if `home` is. */
export interface AgentSettings {
  readonly home: string;
  /** The configuration file, whether it is there or not. */
  readonly file: string;
  readonly stateDir: string;
  readonly port: number;
  readonly bind: string;
  /** Path of this agent's certificate; `key` and `ca` likewise, all PEM. */
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  /** The allowlist, in the home; no key sets it. */
  readonly scriptsConf: string;
  /** Where scripts may lie; undefined: anywhere. */
  readonly scriptDirs: readonly string[] | undefined;
  /** Path of an executable; undefined: none. */
  readonly authHook: string | undefined;
  /** Seconds. */
  readonly authHookTimeout: number;
  /** Where events go: the key `event_log`, beyond the published table. Moved by a restart only. */
  readonly eventLog: EventLogSetting;
  /** Who may connect; undefined: everybody. */
  readonly allowedIps: Prefixes | undefined;
  /** For connections that came to nothing, of one address. */
  readonly rateLimitVolume: RateLimit;
  /** For those among them whose handshake failed. */
  readonly rateLimitProbe: RateLimit;
  readonly rateLimitDisable: boolean;
  /** A file. */
  readonly revokedSerials: string;
  /** The file with the serials of trusted dispatchers. */
  readonly trustedDispatchersPath: string;
  /** Connections at a time. */
  readonly maxConnections: number;
  /** Runs at a time. */
  readonly maxRuns: number;
  /** Seconds; 0: none. */
  readonly runTimeout: number;
  /** Seconds. */
  readonly stdinTimeout: number;
  /** Bytes of each stream. */
  readonly maxOutput: number;
  /** Directory of runs and their answers. */
  readonly asyncRunsDir: string;
  /** Seconds. */
  readonly asyncTtl: number;
  /** Accept requests without a signature from dispatchers that never signed one. */
  readonly acceptLegacyDispatchers: boolean;
  /** Let legacy dispatchers run a script that already runs. */
  readonly legacyConcurrency: boolean;
  /** What happens with files that an account other than root and this agent's can change. */
  readonly fileTrust: FileTrust;
  /** False while nothing says it. */
  readonly fileTrustConfigured: boolean;
  /** The `[tags]` section. */
  readonly tags: Readonly<Record<string, string>>;
}

/** Where an agent lives, before its configuration was read. */
export interface AgentBase {
  readonly home: string;
  readonly stateDir: string;
  /** The configuration file, for messages. */
  readonly file: string;
  /** What `file_trust` is where it is not set. */
  readonly fileTrust: FileTrust;
}

const prefixes: Field<Prefixes> = (text) =>
  commaList(text).andThen((entries) =>
    parsePrefixes(entries).orElse(({ entry, reason }) =>
      err(`addresses and CIDR ranges separated by commas; "${printable(entry, 50)}" is none: ${reason}`),
    ),
  );

/** The limit up to which dispatchers take an answer in. */
const bytes = integer({ min: 1, max: 16 * 1024 * 1024, unit: 'bytes' });

/**
 * The settings of an agent: the key table of the product with its defaults, and beyond it
 * `state_dir` and `event_log` (where events go, see {@link EventLogSetting}; default `auto`). A path is absolute or the
 * plain name of a file, which is taken in the home. An empty value is an error, except where the default is none and
 * leaving it out opens nothing: `auth_hook`.
 * @param parsed undefined when there is no configuration file
 */
export function agentSettings(
  parsed: ParsedConfiguration | undefined,
  base: AgentBase,
): Result<SettingsAndWarnings<AgentSettings>, CtrlExecError<'config_invalid'>> {
  const { home } = base;
  const { read, isSet, finish } = settingsReader(parsed, base.file);
  const inHome = (name: string) => inDirectory(home, name);
  const file = path(home);
  const stateDir = read('state_dir', file, base.stateDir);

  const settings: AgentSettings = {
    home,
    file: base.file,
    stateDir,
    port: read('port', port, agentPort),
    bind: read('bind', bindAddress, '0.0.0.0'),
    cert: read('cert', file, inHome('agent.crt')),
    key: read('key', file, inHome('agent.key')),
    ca: read('ca', file, inHome('ca.crt')),
    scriptsConf: inHome('scripts.conf'),
    scriptDirs: read('script_dirs', directories, undefined),
    authHook: read('auth_hook', optional(file), undefined),
    authHookTimeout: read('auth_hook_timeout', seconds(1), 10),
    eventLog: read('event_log', eventLogSetting, { kind: 'auto' } as const),
    allowedIps: read('allowed_ips', prefixes, undefined),
    rateLimitVolume: read('rate_limit_volume', rateLimit, { limit: 10, window: 60, block: 300 }),
    rateLimitProbe: read('rate_limit_probe', rateLimit, { limit: 3, window: 600, block: 3600 }),
    rateLimitDisable: read('rate_limit_disable', boolean, false),
    revokedSerials: read('revoked_serials', file, inHome('revoked-serials')),
    trustedDispatchersPath: read(
      'trusted_dispatchers_path',
      file,
      inDirectory(stateDir, 'ctrl-exec-dispatchers'),
    ),
    maxConnections: read('max_connections', integer({ min: 2, max: 65_536, unit: 'connections' }), 1024),
    maxRuns: read('max_runs', integer({ min: 1, max: 65_536, unit: 'runs' }), 64),
    runTimeout: read('run_timeout', seconds(0), 0),
    stdinTimeout: read('stdin_timeout', seconds(1), 10),
    maxOutput: read('max_output', bytes, 16 * 1024 * 1024),
    asyncRunsDir: read('async_runs_dir', file, inDirectory(stateDir, 'runs')),
    asyncTtl: read('async_ttl', integer({ min: 1, max: 31_536_000, unit: 'seconds' }), 86_400),
    acceptLegacyDispatchers: read('accept_legacy_dispatchers', boolean, false),
    legacyConcurrency: read('legacy_concurrency', boolean, true),
    fileTrust: read('file_trust', fileTrust, base.fileTrust),
    fileTrustConfigured: isSet('file_trust'),
    tags: tagsOf(parsed?.tags?.entries),
  };
  return finish(settings, ['tags', 'pull', 'profile']);
}

function tagsOf(entries: ConfigurationEntries | undefined): Readonly<Record<string, string>> {
  return Object.fromEntries([...(entries?.values() ?? [])].map(({ key, value }) => [key, value]));
}
