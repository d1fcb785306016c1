import { describe, expect, test } from 'vitest';
import type { HookContext, HookOutcome } from '../../src/domain/runs/auth-hook.js';
import type { AuthHook } from '../../src/ports/auth-hook.js';
import { value } from './result.js';

const hookContext: HookContext = {
  action: 'run',
  script: 'backup',
  hosts: ['web-01', 'web-02'],
  args: ['--db', 'it\'s "so"', '', '日本\n'],
  username: 'alice',
  token: 't0k3n',
  sourceIp: '192.0.2.7',
  timestamp: '2026-01-02T03:04:05Z',
};

/** Hooks that behave in known ways. */
export interface HookBinding {
  /** A hook that ends like this. */
  readonly ending: (how: Extract<HookOutcome, { kind: 'exited' | 'signalled' }>) => AuthHook;
  /** A hook that never ends by itself; it is given up after `seconds`. */
  readonly endless: (seconds: number) => AuthHook;
  /** What stands for the hook where none is configured. */
  readonly absent: () => AuthHook;
  /** A hook that is configured and cannot be asked. */
  readonly unusable: () => AuthHook;
}

/** What holds for every `AuthHook`. */
export function authHookContract(name: string, binding: HookBinding): void {
  describe(`auth hook: ${name}`, () => {
    const ask = async (hook: AuthHook) => value(await hook.ask(hookContext));

    for (const code of [0, 1, 2, 3, 4, 126, 127, 255])
      test(`exit ${code} is an outcome`, async () => {
        expect(await ask(binding.ending({ kind: 'exited', code }))).toEqual({ kind: 'exited', code });
      });

    test('an end by a signal is an outcome', async () => {
      const end = { kind: 'signalled', signal: 'SIGKILL' } as const;
      expect(await ask(binding.ending(end))).toEqual(end);
    });

    test('running out of time is an outcome', async () => {
      expect(await ask(binding.endless(0.1))).toEqual({ kind: 'timed-out', seconds: 0.1 });
    });

    test('no hook is an outcome', async () => {
      expect(await ask(binding.absent())).toEqual({ kind: 'none' });
    });

    test('a hook that cannot be run is an outcome with a reason', async () => {
      const outcome = await ask(binding.unusable());
      expect(outcome).toMatchObject({ kind: 'not-run' });
      expect(outcome.kind === 'not-run' && outcome.reason).toMatch(/\S/);
    });

    test('one hook answers many questions at once', async () => {
      const hook = binding.ending({ kind: 'exited', code: 3 });
      const outcomes = await Promise.all(Array.from({ length: 10 }, () => ask(hook)));
      expect(outcomes).toEqual(Array(10).fill({ kind: 'exited', code: 3 }));
    });
  });
}
