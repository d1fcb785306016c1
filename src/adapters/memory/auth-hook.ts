import { okAsync } from 'neverthrow';
import type { HookContext, HookOutcome } from '../../domain/runs/auth-hook.js';
import type { AuthHook } from '../../ports/auth-hook.js';

/** A hook that is a function; remembers, in order, what it was asked. */
export const memoryAuthHook = (
  decide: (context: HookContext) => HookOutcome,
): AuthHook & { readonly asked: HookContext[] } => {
  const asked: HookContext[] = [];
  return {
    asked,
    ask(context) {
      asked.push(context);
      return okAsync(decide(context));
    },
  };
};
