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
  /** Actions `status` and `cancel`: the run that is asked about, and who submitted it from where. */
  readonly run?: { readonly reqid: string; readonly submitter: string; readonly submitterIp: string };
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
      if (/* defence: hook-says-yes-by-0-only */ outcome.code === 0) return { allowed: true };
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

const bytesIn = (value: string): number => new TextEncoder().encode(value).length;

/**
 * The `ENVEXEC_*` variables, or the name of the one that would hold a NUL and so cannot be passed at all. The lists
 * (`_HOSTS`, `_ARGS`, `_ARGS_JSON`) are left out above 64 KiB.
 */
export function hookVariables(
  context: HookContext,
): { variables: Record<string, string> } | { nulIn: string } {
  const { action, script, hosts, args, username, token, sourceIp, timestamp, dispatcher, run } = context;
  const single: Record<string, string> = {
    ENVEXEC_ACTION: action,
    ENVEXEC_SCRIPT: script,
    ENVEXEC_USERNAME: username,
    ENVEXEC_TOKEN: token,
    ENVEXEC_SOURCE_IP: sourceIp,
    ENVEXEC_TIMESTAMP: timestamp,
    ...(dispatcher && { ENVEXEC_DISPATCHER: dispatcher.id, ENVEXEC_DISPATCHER_SERIAL: dispatcher.serial }),
    ...(run && {
      ENVEXEC_REQID: run.reqid,
      ENVEXEC_SUBMITTER: run.submitter,
      ENVEXEC_SUBMITTER_IP: run.submitterIp,
    }),
  };
  const hostList = { ENVEXEC_HOSTS: hosts.join(',') };
  const argumentLists = { ENVEXEC_ARGS: args.join(' '), ENVEXEC_ARGS_JSON: JSON.stringify(args) };
  for (const [name, value] of Object.entries({ ...single, ...hostList, ...argumentLists }))
    if (value.includes('\0')) return { nulIn: name };
  const lists = Object.entries({ ...hostList, ...argumentLists });
  const fitting = lists.filter(([, value]) => bytesIn(value) <= variableLimit);
  return { variables: { ...single, ...Object.fromEntries(fitting) } };
}
