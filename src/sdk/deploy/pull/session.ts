import type { PullSettings } from '../../../domain/settings/pull.js';
import type { EventLog } from '../../../ports/event-log.js';
import type { PullKeys } from '../../../ports/pull-keys.js';
import type { DeployContext } from '../context.js';
import type { PullApi } from './api.js';
import type { PullContext } from './context.js';

/** A pull agent at work. */
export interface PullSession {
  readonly context: PullContext;
  readonly settings: PullSettings;
  readonly api: PullApi;
  readonly keys: PullKeys;
  readonly deployment: DeployContext;
  /** What was said already, and is said once. */
  readonly once: Set<'verification-forbidden' | 'jobs-left'>;
  /** Lets through what the settings want logged. */
  readonly events: EventLog;
  /** Somebody wants the agent to end: nothing new is begun. */
  readonly stop: AbortSignal;
}
