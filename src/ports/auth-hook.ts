import type { ResultAsync } from 'neverthrow';
import type { HookContext, HookOutcome } from '../domain/runs/auth-hook.js';

/**
 * Asks the external policy engine.
 *
 * Contract: every way in which a hook can end is an outcome, none is an error; the hook gets the context of
 * wire-protocol 1.6, complete on standard input, and its output is discarded. Judging the outcome is the domain's.
 */
export interface AuthHook {
  /** Resolves when the hook has ended, or its time was up. */
  ask(context: HookContext): ResultAsync<HookOutcome, never>;
}
