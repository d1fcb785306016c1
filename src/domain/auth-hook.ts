/** What a hook is told (wire-protocol 1.6). */
export interface HookContext {
  readonly action: string;
  readonly script: string;
  readonly hosts: readonly string[];
  readonly args: readonly string[];
  readonly username: string;
  readonly token: string;
  readonly sourceIp: string;
  /** ISO 8601 UTC, whole seconds. */
  readonly timestamp: string;
  /** Agent side: the dispatcher that called. */
  readonly dispatcher?: { readonly id: string; readonly serial: string };
}

/** How a hook ended. */
export type HookOutcome =
  | { readonly kind: 'none' }
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'signalled'; readonly signal: string }
  | { readonly kind: 'timed-out'; readonly seconds: number }
  | { readonly kind: 'not-run'; readonly reason: string };

export type HookVerdict =
  | { readonly allowed: true }
  | { readonly allowed: false; readonly reason: string; readonly code: 1 | 2 | 3 | undefined };

const reasons = { 1: 'denied', 2: 'bad credentials', 3: 'insufficient privilege' } as const;

/** Only exit 0 authorises. Without a hook, `withoutHook` decides. */
export function judgeHook(outcome: HookOutcome, withoutHook: 'allow' | 'deny'): HookVerdict {
  switch (outcome.kind) {
    case 'none':
      return withoutHook === 'allow' ? { allowed: true } : { allowed: false, reason: 'denied', code: 1 };
    case 'exited':
      if (outcome.code === 0) return { allowed: true };
      if (outcome.code === 1 || outcome.code === 2 || outcome.code === 3)
        return { allowed: false, reason: reasons[outcome.code], code: outcome.code };
      return { allowed: false, reason: `hook exited ${outcome.code}`, code: undefined };
    case 'signalled':
      return { allowed: false, reason: `hook killed by ${outcome.signal}`, code: undefined };
    case 'timed-out':
      return { allowed: false, reason: `hook timed out after ${outcome.seconds} s`, code: undefined };
    case 'not-run':
      return { allowed: false, reason: `hook could not be executed: ${outcome.reason}`, code: undefined };
  }
}

/** The JSON object for the hook's standard input. */
export function hookInput(context: HookContext): string {
  const { action, script, hosts, args, username, token, sourceIp, timestamp } = context;
  return JSON.stringify({ action, script, hosts, args, username, token, source_ip: sourceIp, timestamp });
}

/** A variable holds at most 128 KiB; above this the lists are left out, standard input has them. */
const variableLimit = 64 * 1024;

/**
 * The `ENVEXEC_*` variables, or the name of the field that holds a NUL and so cannot be passed at all.
 */
export function hookVariables(
  context: HookContext,
): { variables: Record<string, string> } | { nulIn: string } {
  const { action, script, hosts, args, username, token, sourceIp, timestamp, dispatcher } = context;
  const single: Record<string, string> = {
    ENVEXEC_ACTION: action,
    ENVEXEC_SCRIPT: script,
    ENVEXEC_USERNAME: username,
    ENVEXEC_TOKEN: token,
    ENVEXEC_SOURCE_IP: sourceIp,
    ENVEXEC_TIMESTAMP: timestamp,
    ...(dispatcher && { ENVEXEC_DISPATCHER: dispatcher.id, ENVEXEC_DISPATCHER_SERIAL: dispatcher.serial }),
  };
  const lists: Record<string, string> = {
    ...(dispatcher ? {} : { ENVEXEC_HOSTS: hosts.join(',') }),
    ENVEXEC_ARGS: args.join(' '),
    ENVEXEC_ARGS_JSON: JSON.stringify(args),
  };
  for (const [name, value] of Object.entries({
    ...single,
    ENVEXEC_ARGS: lists['ENVEXEC_ARGS'] ?? '',
    ENVEXEC_HOSTS: hosts.join(','),
  }))
    if (value.includes('\0')) return { nulIn: name };
  const encoder = new TextEncoder();
  const fitting = Object.entries(lists).filter(([, value]) => encoder.encode(value).length <= variableLimit);
  return { variables: { ...single, ...Object.fromEntries(fitting) } };
}
