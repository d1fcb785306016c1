import { err, ok, type Result } from 'neverthrow';
import { closest } from '../core/closest.js';
import { at, configInvalid, type ParsedConfiguration } from '../core/configuration.js';
import type { CtrlExecError } from '../core/errors.js';
import type { EventLevel } from '../core/event.js';
import type { FileTrust } from '../core/file-trust.js';
import { isPathSegment, printable } from '../core/names.js';
import type { PullPolicy } from '../deploy/policy.js';
import { type ControlPlaneUrl, controlPlaneUrl } from '../deploy/server-url.js';
import { fileTrust } from './fields.js';
import { policyKeys, pullPolicy } from './pull-policy.js';
import type { SettingsAndWarnings } from './reader.js';

/** What may be given to a pull agent as options; each goes before the environment and the configuration file. */
export interface PullOptions {
  /** URL of the control plane. */
  readonly server?: string | undefined;
  readonly apiKey?: string | undefined;
  readonly agentId?: string | undefined;
  readonly name?: string | undefined;
  /** A directory. */
  readonly keyDir?: string | undefined;
  /** Directories separated by commas. */
  readonly discoveryDirs?: string | undefined;
  /** A file. */
  readonly caBundle?: string | undefined;
  readonly insecureSkipVerify?: boolean | undefined;
}

/** Everything that decides how a pull agent works. */
export interface PullSettings {
  readonly server: ControlPlaneUrl;
  /** A secret: it goes into one header and nowhere else. */
  readonly apiKey: string;
  readonly agentId: string;
  readonly name: string;
  readonly keyDir: string;
  /** Empty: nothing is looked for. */
  readonly discoveryDirs: readonly string[];
  /** A file; undefined: the CAs that the system trusts. */
  readonly caBundle: string | undefined;
  readonly insecureSkipVerify: boolean;
  /** What the control plane may do on this host. */
  readonly policy: PullPolicy;
  /** The least urgent events that are logged; `debug` adds one for every call. */
  readonly logLevel: PullLogLevel;
}

/** From which level on events are logged. */
export type PullLogLevel = 'debug' | EventLevel;

export type PullEnvironment = Readonly<Record<string, string | undefined>>;

/** What the configuration file says, and where it is. */
export interface PullConfiguration {
  readonly file: string;
  /** What `file_trust` is where it is not set. */
  readonly fileTrust: FileTrust;
  /** Undefined: there is none. */
  readonly parsed: ParsedConfiguration | undefined;
}

/** Each setting under its names: option, environment, key in `[pull]`. */
const sources = {
  server: { option: '--server', variable: 'CERTCTL_SERVER_URL', key: 'server' },
  apiKey: { option: '--api-key', variable: 'CERTCTL_API_KEY', key: 'api_key' },
  agentId: { option: '--agent-id', variable: 'CERTCTL_AGENT_ID', key: 'agent_id' },
  name: { option: '--name', variable: 'CERTCTL_AGENT_NAME', key: 'name' },
  keyDir: { option: '--key-dir', variable: 'CERTCTL_KEY_DIR', key: 'key_dir' },
  discoveryDirs: { option: '--discovery-dirs', variable: 'CERTCTL_DISCOVERY_DIRS', key: 'discovery_dirs' },
  caBundle: { option: '--ca-bundle', variable: 'CERTCTL_SERVER_CA_BUNDLE_PATH', key: 'ca_bundle' },
} as const;

const insecureSource = {
  variable: 'CERTCTL_SERVER_TLS_INSECURE_SKIP_VERIFY',
  key: 'insecure_skip_verify',
};
const logLevelSource = { variable: 'CERTCTL_LOG_LEVEL', key: 'log_level' };

type TextSetting = keyof typeof sources;

const levels: Readonly<Record<string, PullLogLevel>> = {
  debug: 'debug',
  info: 'info',
  warn: 'warning',
  warning: 'warning',
  error: 'error',
};

/** `1`, `t`, `true`, `yes`, `on` and `0`, `f`, `false`, `no`, `off` in any case; anything else is undefined. */
export function looseBoolean(text: string): boolean | undefined {
  const word = text.trim().toLowerCase();
  if (['1', 't', 'true', 'yes', 'on'].includes(word)) return true;
  return ['0', 'f', 'false', 'no', 'off'].includes(word) ? false : undefined;
}

/** Whether an event is logged at this level. */
export const isLogged = (level: PullLogLevel, event: PullLogLevel): boolean => {
  const order: readonly PullLogLevel[] = ['debug', 'info', 'warning', 'error'];
  return order.indexOf(event) >= order.indexOf(level);
};

/**
 * The settings of a pull agent. An option goes before the environment, that before the section `[pull]` of the
 * configuration file, that before the default; in the environment, empty is as good as not set.
 */
export function pullSettings(
  options: PullOptions,
  environment: PullEnvironment,
  { file, fileTrust: usualTrust, parsed }: PullConfiguration,
): Result<SettingsAndWarnings<PullSettings>, CtrlExecError<'config_invalid'>> {
  const section = parsed?.pull;
  const read = (setting: TextSetting): Found | undefined => {
    const { option, variable, key } = sources[setting];
    const given = options[setting];
    if (given !== undefined) return { value: given, place: option };
    const value = environment[variable];
    if (value !== undefined && value !== '') return { value, place: variable };
    const entry = section?.entries.get(key);
    return entry && { value: entry.value, place: key, line: entry.line };
  };
  const refuse = (found: Found | undefined, reason: string) =>
    err(
      found?.line === undefined
        ? settingInvalid(file, found?.place, reason)
        : configInvalid(file, found.line, `${found.place} ${reason}`),
    );

  const server = read('server') ?? { value: 'https://localhost:8443', place: 'server' };
  const url = controlPlaneUrl(server.value.trim());
  if (url.isErr()) return refuse(server, url.error);

  const apiKey = read('apiKey');
  if (!apiKey?.value)
    return refuse(
      undefined,
      'an API key is required: set CERTCTL_API_KEY (or --api-key, which shows in process lists)',
    );
  if (!/^[\x21-\x7e]{1,4096}$/.test(apiKey.value))
    return refuse(apiKey, 'is not an API key: expected up to 4096 visible ASCII characters, without spaces');

  const agentId = read('agentId');
  if (!agentId?.value)
    return refuse(
      undefined,
      'an agent id is required: set --agent-id or CERTCTL_AGENT_ID. Register an agent first via POST /api/v1/agents',
    );
  if (!isPathSegment(agentId.value))
    return refuse(
      agentId,
      `is "${printable(agentId.value, 60)}", expected an id of up to 128 visible characters`,
    );

  const keyDir = read('keyDir') ?? { value: '/var/lib/certctl/keys', place: 'key_dir' };
  if (keyDir.value === '' || keyDir.value.includes('\0'))
    return refuse(keyDir, 'is empty, expected a directory');

  const insecure = insecureSetting(options, environment, section);
  if (insecure.isErr()) return err(configInvalid(file, insecure.error.line, insecure.error.reason));

  const policy = pullPolicy(section, file);
  if (policy.isErr()) return err(policy.error);
  const trusted = parsed?.entries.get('file_trust');
  const trust = trusted === undefined ? ok(usualTrust) : fileTrust(trusted.value);
  if (trust.isErr())
    return err(
      configInvalid(
        file,
        trusted?.line,
        `file_trust is "${printable(trusted?.value ?? '', 40)}", expected ${trust.error}`,
      ),
    );

  const caBundle = read('caBundle')?.value;
  const logLevel = environment[logLevelSource.variable] || section?.entries.get(logLevelSource.key)?.value;
  return ok({
    settings: {
      server: url.value,
      apiKey: apiKey.value,
      agentId: agentId.value,
      name: read('name')?.value || 'certctl-agent',
      keyDir: keyDir.value,
      discoveryDirs: directories(read('discoveryDirs')?.value ?? ''),
      caBundle: caBundle === '' ? undefined : caBundle,
      insecureSkipVerify: insecure.value,
      policy: { ...policy.value, fileTrust: trust.value },
      logLevel: levels[(logLevel ?? '').trim().toLowerCase()] ?? 'info',
    },
    warnings: unknownKeys(section, file),
  });
}

/** A value and where it stands. */
interface Found {
  readonly value: string;
  readonly place: string;
  readonly line?: number;
}

const directories = (text: string): readonly string[] =>
  text
    .split(',')
    .map((entry) => entry.trim())
    .filter((entry) => entry !== '');

function settingInvalid(file: string, place: string | undefined, reason: string) {
  const error = configInvalid(file, undefined, reason);
  return { ...error, message: place === undefined ? reason : `${place} ${reason}` };
}

/** In the environment what is no boolean means the default; in the file it is a mistake. */
function insecureSetting(
  options: PullOptions,
  environment: PullEnvironment,
  section: ParsedConfiguration['pull'],
): Result<boolean, { readonly line: number; readonly reason: string }> {
  if (options.insecureSkipVerify !== undefined) return ok(options.insecureSkipVerify);
  const variable = environment[insecureSource.variable];
  if (variable) return ok(looseBoolean(variable) ?? false);
  const entry = section?.entries.get(insecureSource.key);
  if (!entry) return ok(false);
  const value = looseBoolean(entry.value);
  if (value !== undefined) return ok(value);
  const found = printable(entry.value, 40);
  const reason = `${insecureSource.key} is "${found}", expected 1, true, yes or on; or 0, false, no or off`;
  return err({ line: entry.line, reason });
}

function unknownKeys(section: ParsedConfiguration['pull'], file: string): readonly string[] {
  const known = new Set<string>([
    ...Object.values(sources).map(({ key }) => key),
    insecureSource.key,
    logLevelSource.key,
    ...policyKeys,
  ]);
  return [...(section?.entries.values() ?? [])]
    .filter(({ key }) => !known.has(key))
    .map(({ key, line }) => {
      const close = closest(key.toLowerCase().replaceAll('-', '_'), known);
      const advice = close === undefined ? '' : `, did you mean "${close}"?`;
      return `${at(file, line)}: unknown key "${printable(key, 64)}" in [pull] is ignored${advice}`;
    });
}
