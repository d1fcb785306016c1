/** Where an action prints. */
export interface ActionOutput {
  /**
   * Adds to the output; text as UTF-8. Resolves when more may come: await it, and whoever follows the run sets the pace.
   * Never rejects; what comes after the end is lost. Of a follower that is more than 4 MiB behind nothing is waited for
   * any more: the run is not followed on, its result is complete.
   */
  write(content: string | Uint8Array): Promise<void>;
}

/** What an action is told about the run that it is. */
export interface ActionContext {
  /** As the caller gave them: text from outside, to be judged like the arguments of a program. */
  readonly args: readonly string[];
  /** Id of the run; empty where a legacy dispatcher gave none. */
  readonly reqid: string;
  /** Who the caller says that he is; empty where it was not said. Nobody has checked it but a hook, if there is one. */
  readonly username: string;
  /** Id of the dispatcher that asked. */
  readonly dispatcher: string;
  /** Address that it asked from. */
  readonly peerIp: string;
  /** When the run began, ISO 8601 UTC, whole seconds. */
  readonly timestamp: string;
  /** The caller's token, a secret; undefined where none was given. */
  readonly token: string | undefined;
  /**
   * Aborted when the run is to end: its time is up (the reason is then a `TimeoutError`), it was cancelled, or the agent
   * stops. An action that has not ended 5 s later is answered for as if it had been killed.
   */
  readonly signal: AbortSignal;
  readonly stdout: ActionOutput;
  readonly stderr: ActionOutput;
}

/**
 * How an action ends: nothing is exit code 0, a whole number from 0 to 255 is the exit code, a text is printed as it is and
 * is 0. Anything else, and what is thrown, is exit code 1 with one line on standard error.
 */
// biome-ignore lint/suspicious/noConfusingVoidType: an action that returns nothing need not say so.
export type ActionResult = void | undefined | number | string;

/** A function that an agent runs as it runs a script. What it throws is exit 1, with the message on standard error. */
export type ActionFunction = (context: ActionContext) => ActionResult | Promise<ActionResult>;

/** An action, and what the agent tells dispatchers about it. */
export interface DescribedAction {
  readonly run: ActionFunction;
  /** What a sidecar holds for a script (`description`, `arguments`, …): a JSON object of at most 64 KiB. */
  readonly schema?: Readonly<Record<string, unknown>>;
  /** Calls at a time, 1 to 1,000; more are `busy`. Default 1. */
  readonly concurrency?: number;
}

export const maxConcurrency = 1000;

/** Functions that dispatchers may run, by the name that they ask for: `^[A-Za-z0-9_-]{1,255}$`. */
export type Actions = Readonly<Record<string, ActionFunction | DescribedAction>>;

/** No path of a script: those begin with a slash. */
const prefix = 'action:';

/** What stands in the place of a script's path. */
export const actionPath = (name: string): string => `${prefix}${name}`;

export const isActionPath = (path: string): boolean => path.startsWith(prefix);

/** The function behind such a path; undefined: there is none. */
export function actionAt(actions: Actions, path: string): ActionFunction | undefined {
  const name = path.slice(prefix.length);
  if (!isActionPath(path) || !Object.hasOwn(actions, name)) return undefined;
  const action = actions[name];
  return typeof action === 'function' ? action : action?.run;
}

/** Calls at a time of the action of this name; 1 of what is none. */
export function concurrencyOf(actions: Actions, name: string): number {
  const action = Object.hasOwn(actions, name) ? actions[name] : undefined;
  return (typeof action === 'object' ? action.concurrency : undefined) ?? 1;
}
