import type { Result } from 'neverthrow';
import type { ParsedConfiguration } from '../core/configuration.js';
import type { CtrlExecError } from '../core/errors.js';
import type { FileTrust } from '../core/file-trust.js';
import { dispatcherId, dispatcherIdFromHostName } from '../core/names.js';
import type { RateLimit } from '../protocol/source-limits.js';
import { type KeyType, keyTypes } from '../trust/certificate.js';
import { type EventLogSetting, eventLogSetting } from './event-log.js';
import {
  agentNames,
  bindAddress,
  boolean,
  type Field,
  fileTrust,
  inDirectory,
  integer,
  oneOf,
  optional,
  path,
  port,
  rateLimit,
  seconds,
} from './fields.js';
import { type SettingsAndWarnings, settingsReader } from './reader.js';

/** Everything that `ctrl-exec.conf` sets. Paths are absolute if `home` is; days are days. */
export interface DispatcherSettings {
  readonly home: string;
  /** The configuration file, whether it is there or not. */
  readonly file: string;
  readonly stateDir: string;
  /** Path of this dispatcher's certificate; `key` and `ca` likewise, all PEM. */
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
  /** In the home, as are the next two; no key sets them. */
  readonly caKey: string;
  readonly pairingCert: string;
  readonly pairingKey: string;
  /** How agents know this dispatcher. */
  readonly dispatcherId: string;
  /** False while the id is only derived from the host name. */
  readonly dispatcherIdConfigured: boolean;
  /** Seconds for the name, TCP, TLS and the check of an agent's certificate together. */
  readonly connectTimeout: number;
  /** Seconds. */
  readonly readTimeout: number;
  /** Seconds for which the record of a run is kept from its end. */
  readonly runTtl: number;
  /** Hosts at a time. */
  readonly maxParallel: number;
  /** Bytes that are kept of each stream in an agent's answer: the key `max_answer`, beyond the published table. */
  readonly maxAnswer: number;
  readonly apiPort: number;
  /** Whether `api_port` is written down: then it is listened on also where `api_socket` is. */
  readonly apiPortConfigured: boolean;
  readonly apiBind: string;
  /** Certificate and key of the API, paths of PEM files; undefined: plain HTTP. */
  readonly apiCert: string | undefined;
  readonly apiKey: string | undefined;
  /** Whether the API may be served to other hosts without TLS: for a proxy in front of it that speaks TLS. */
  readonly apiPlainHttp: boolean;
  /** Path of a Unix socket that the API listens on, too. */
  readonly apiSocket: string | undefined;
  /** What holds for requests of the API where no hook is configured. */
  readonly apiAuthDefault: 'allow' | 'deny';
  /** Requests of the API at a time; further ones get 503. */
  readonly apiMaxConcurrent: number;
  /** Requests of one source, other than of this host: the key `api_rate_limit`, beyond the published table. */
  readonly apiRateLimit: RateLimit;
  /** Path of an executable; undefined: none. */
  readonly authHook: string | undefined;
  /** Seconds. */
  readonly authHookTimeout: number;
  /** Tell callers that they were denied, and not why. */
  readonly authDenyGeneric: boolean;
  /** Where events go: the key `event_log`, beyond the published table. Moved by a restart only. */
  readonly eventLog: EventLogSetting;
  /** Days that a certificate is issued for. */
  readonly certDays: number;
  /** Days before its end from which on a certificate is renewed. */
  readonly certRenewalDays: number;
  /** Days for which the former identity is still trusted after a rotation. */
  readonly certOverlapDays: number;
  /** Seconds. */
  readonly certCheckInterval: number;
  /** Of the dispatcher's own key. */
  readonly keyType: KeyType;
  readonly pairingPort: number;
  readonly pairingBind: string;
  /** Requests that may wait at a time. */
  readonly pairingMaxQueue: number;
  readonly pairingRateLimitVolume: RateLimit;
  /** Serve pairing of version 1, too. */
  readonly allowLegacyPairing: boolean;
  /** Names in lower case, or all of them. */
  readonly allowLegacyAgents: '*' | readonly string[];
  /** What happens with files that an account other than root and that of this process can change. */
  readonly fileTrust: FileTrust;
  /** False while nothing says it. */
  readonly fileTrustConfigured: boolean;
}

/** Where a dispatcher lives, before its configuration was read. */
export interface DispatcherBase {
  readonly home: string;
  readonly stateDir: string;
  /** The configuration file, for messages. */
  readonly file: string;
  readonly hostName: string;
  /** What `file_trust` is where it is not set. */
  readonly fileTrust: FileTrust;
}

const idField: Field<string> = (text) =>
  dispatcherId(text).mapErr((error) => error.reason.replace(/^.*expected /, ''));

/**
 * The settings of a dispatcher: the key table of the product with its defaults, and beyond it `event_log` (where
 * events go, see {@link EventLogSetting}; default `auto`), `api_rate_limit` (default `600/60/60`), `connect_timeout` (default 10 s) and `max_answer` (default 8 MiB). A path is absolute or the plain name of
 * a file, which is taken in the home. An empty value is an error, except where the default is none.
 * @param parsed undefined when there is no configuration file
 */
export function dispatcherSettings(
  parsed: ParsedConfiguration | undefined,
  base: DispatcherBase,
): Result<SettingsAndWarnings<DispatcherSettings>, CtrlExecError<'config_invalid'>> {
  const { home } = base;
  const { read, isSet, reject, finish } = settingsReader(parsed, base.file);
  const inHome = (name: string) => inDirectory(home, name);
  const file = path(home);
  const days = integer({ min: 1, max: 36_500, unit: 'days' });

  const settings: DispatcherSettings = {
    home,
    file: base.file,
    stateDir: read('state_dir', file, base.stateDir),
    cert: read('cert', file, inHome('ctrl-exec.crt')),
    key: read('key', file, inHome('ctrl-exec.key')),
    ca: read('ca', file, inHome('ca.crt')),
    caKey: inHome('ca.key'),
    pairingCert: inHome('pairing.crt'),
    pairingKey: inHome('pairing.key'),
    dispatcherId: read('dispatcher_id', idField, dispatcherIdFromHostName(base.hostName)),
    dispatcherIdConfigured: isSet('dispatcher_id'),
    connectTimeout: read('connect_timeout', seconds(1), 10),
    readTimeout: read('read_timeout', seconds(1), 60, 'timeout'),
    runTtl: read('run_ttl', seconds(1), 86_400),
    maxParallel: read('max_parallel', integer({ min: 1, max: 4096, unit: 'hosts' }), 64),
    maxAnswer: read(
      'max_answer',
      integer({ min: 65_536, max: 16 * 1024 * 1024, unit: 'bytes' }),
      8 * 1024 * 1024,
    ),
    apiPort: read('api_port', port, 7445),
    apiPortConfigured: isSet('api_port'),
    apiBind: read('api_bind', bindAddress, '127.0.0.1'),
    apiCert: read('api_cert', optional(file), undefined),
    apiKey: read('api_key', optional(file), undefined),
    apiPlainHttp: read('api_plain_http', boolean, false),
    apiSocket: read('api_socket', optional(file), undefined),
    apiAuthDefault: read('api_auth_default', oneOf(['allow', 'deny']), 'deny'),
    apiMaxConcurrent: read('api_max_concurrent', integer({ min: 1, max: 65_536, unit: 'requests' }), 64),
    apiRateLimit: read('api_rate_limit', rateLimit, { limit: 600, window: 60, block: 60 }),
    authHook: read('auth_hook', optional(file), undefined),
    authHookTimeout: read('auth_hook_timeout', seconds(1), 10),
    authDenyGeneric: read('auth_deny_generic', boolean, false),
    eventLog: read('event_log', eventLogSetting, { kind: 'auto' } as const),
    certDays: read('cert_days', days, 365),
    certRenewalDays: read('cert_renewal_days', days, 90),
    certOverlapDays: read('cert_overlap_days', days, 30),
    certCheckInterval: read('cert_check_interval', seconds(1), 14_400),
    keyType: read('key_type', oneOf(keyTypes), 'p256'),
    pairingPort: read('pairing_port', port, 7444),
    pairingBind: read('pairing_bind', bindAddress, '0.0.0.0'),
    pairingMaxQueue: read('pairing_max_queue', integer({ min: 1, max: 1000, unit: 'requests' }), 10),
    pairingRateLimitVolume: read('pairing_rate_limit_volume', rateLimit, {
      limit: 10,
      window: 60,
      block: 300,
    }),
    allowLegacyPairing: read('allow_legacy_pairing', boolean, false),
    allowLegacyAgents: read('allow_legacy_agents', agentNames, []),
    fileTrust: read('file_trust', fileTrust, base.fileTrust),
    fileTrustConfigured: isSet('file_trust'),
  };
  if (settings.apiCert && !settings.apiKey)
    reject('api_cert', 'is set without api_key, expected both or neither');
  if (settings.apiKey && !settings.apiCert)
    reject('api_key', 'is set without api_cert, expected both or neither');
  // A key of older versions; the limit holds all the same.
  read('pairing_rate_limit_disable', boolean, false);
  return finish(settings, []);
}
