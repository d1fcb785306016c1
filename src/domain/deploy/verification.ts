import { backoff } from '../core/backoff.js';
import { decodeObject, type Field, integer, optional } from '../core/decode.js';
import { parseHostArgument } from '../core/host-argument.js';
import { duration, flag, withoutZeroValues } from './fields.js';

export interface Endpoint {
  /** As configured. */
  readonly text: string;
  readonly host: string;
  readonly port: number;
}

/** How the endpoint is asked for what it serves; times in milliseconds. */
export interface VerificationRule {
  readonly endpoint: Endpoint;
  /** Those that are called: the host was resolved, and they were judged. */
  readonly addresses?: readonly string[];
  /** Of each handshake. */
  readonly timeout: number;
  readonly attempts: number;
  readonly backoff: number;
  readonly maxBackoff: number;
}

/** Milliseconds from the reload to the first handshake: servers go on with their old workers for a moment. */
export const verificationDelay = 2000;

/** Milliseconds for all attempts of one verification; one after the way back may follow. */
export const longestVerification = 300_000;

/** Milliseconds to wait before an attempt (1: the second one): doubled each time, up to the maximum. */
export const backoffBefore = (rule: VerificationRule, attempt: number): number =>
  backoff(attempt - 1, { first: rule.backoff, last: rule.maxBackoff, growth: 2 });

const endpoint: Field<Endpoint> = {
  form: 'host:port, port 443 unless told',
  read: (value) => {
    if (typeof value !== 'string' || value.length > 300) return undefined;
    return parseHostArgument(value.replace(/^https:\/\//, ''))
      .map(({ host, port }) => ({ text: value, host, port: port ?? 443 }))
      .unwrapOr(undefined);
  },
};

const verificationObject = {
  enabled: optional(flag),
  endpoint: optional(endpoint),
  timeout: optional(duration),
};

export interface PostDeployVerify {
  readonly enabled?: boolean;
  readonly endpoint?: Endpoint;
  readonly timeout?: number;
}

const postDeployVerify: Field<PostDeployVerify> = {
  form: `an object with enabled (true or false), endpoint (${endpoint.form}) and timeout (${duration.form})`,
  read: (value) =>
    decodeObject(withoutZeroValues(value), verificationObject, { open: true }).unwrapOr(undefined),
};

/** The members of a target's configuration that say how it is verified. */
export const verificationFields = {
  post_deploy_verify: optional(postDeployVerify),
  post_deploy_verify_attempts: optional(integer(1, 100)),
  post_deploy_verify_backoff: optional(duration),
  post_deploy_verify_max_backoff: optional(duration),
};

/** The rule that these members make. Undefined: there is nothing to verify, or nowhere, and then the warning says so. */
export function verificationRule(settings: {
  readonly post_deploy_verify?: PostDeployVerify;
  readonly post_deploy_verify_attempts?: number;
  readonly post_deploy_verify_backoff?: number;
  readonly post_deploy_verify_max_backoff?: number;
}): { readonly rule: VerificationRule | undefined; readonly warnings: readonly string[] } {
  const verify = settings.post_deploy_verify;
  if (verify?.enabled !== true) return { rule: undefined, warnings: [] };
  if (verify.endpoint === undefined)
    return {
      rule: undefined,
      warnings: ['post_deploy_verify is enabled without an endpoint: what is served was not looked at'],
    };
  const rule = {
    endpoint: verify.endpoint,
    timeout: verify.timeout ?? 10_000,
    attempts: settings.post_deploy_verify_attempts ?? 3,
    backoff: settings.post_deploy_verify_backoff ?? 1000,
    maxBackoff: settings.post_deploy_verify_max_backoff ?? 16_000,
  };
  return { rule, warnings: [] };
}

/**
 * The endpoint of a configuration without `post_deploy_verify`, as the Go agent finds it: the first of `host`, `hostname`, `target` and
 * `address` that is a text, and `port`. What is served there is looked at and reported; it decides nothing.
 */
export function observationRule(config: unknown): VerificationRule | undefined {
  if (typeof config !== 'object' || config === null) return undefined;
  const members = new Map<string, unknown>(Object.entries(config));
  const host = ['host', 'hostname', 'target', 'address']
    .map((name) => members.get(name))
    .find((value) => typeof value === 'string' && value !== '');
  const named = typeof host === 'string' ? parseHostArgument(host).unwrapOr(undefined) : undefined;
  if (named === undefined) return undefined;
  const port = integer(1, 65_535).read(members.get('port')) ?? named.port ?? 443;
  const text = named.ipv6 ? `[${named.host}]:${port}` : `${named.host}:${port}`;
  const endpoint = { text, host: named.host, port };
  return { endpoint, timeout: 10_000, attempts: 1, backoff: 0, maxBackoff: 0 };
}
