import { err, ok, type ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { type HookContext, judgeHook } from '../../../domain/runs/auth-hook.js';
import { timestamp } from '../../core/timestamp.js';
import type { DispatcherContext } from '../context.js';

/** Who asks, as the hook is told. Nothing here is verified by ctrl-exec itself. */
export interface Caller {
  /** Default: empty. */
  readonly username?: string;
  /** Passed to the hook and to agents' hooks; never logged. Default: empty. */
  readonly token?: string;
  /** Default: `127.0.0.1`. */
  readonly sourceIp?: string;
}

/** What the hook is asked (wire-protocol 1.6). */
export interface Question {
  readonly action: string;
  readonly script?: string;
  readonly hosts?: readonly string[];
  readonly args?: readonly string[];
  /** The run that is asked about. */
  readonly run?: HookContext['run'];
}

/** Asks the hook; without one, `withoutHook` holds. Only an explicit yes is Ok. */
export function authorise(
  context: DispatcherContext,
  question: Question,
  caller: Caller,
  withoutHook: 'allow' | 'deny',
): ResultAsync<void, CtrlExecError<'denied'>> {
  const asked: HookContext = {
    action: question.action,
    script: question.script ?? '',
    hosts: question.hosts ?? [],
    args: question.args ?? [],
    username: caller.username ?? '',
    token: caller.token ?? '',
    sourceIp: caller.sourceIp ?? '127.0.0.1',
    timestamp: timestamp(context.clock.now()),
    ...(question.run && { run: question.run }),
  };
  return context.hook.ask(asked).andThen((outcome) => {
    const verdict = judgeHook(outcome, withoutHook);
    if (verdict.allowed) return ok(undefined);
    context.events.emit({
      action: 'denied',
      level: 'warning',
      fields: {
        request: asked.action,
        script: asked.script || undefined,
        hosts: asked.hosts.join(',') || undefined,
        username: asked.username || undefined,
        ip: asked.sourceIp,
        reason:
          outcome.kind === 'none' ? 'no auth_hook is set, and api_auth_default is deny' : verdict.reason,
      },
    });
    return err(
      failure('denied', verdict.reason, { who: 'hook', reason: verdict.reason, hookCode: verdict.code }),
    );
  });
}
