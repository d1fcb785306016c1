import fc from 'fast-check';
import { okAsync } from 'neverthrow';
import { beforeEach, describe, expect, it } from 'vitest';
import { memoryAuthHook } from '../../../../../src/adapters/memory/auth-hook.js';
import type { HookOutcome } from '../../../../../src/domain/runs/auth-hook.js';
import { authorise } from '../../../../../src/sdk/dispatcher/fleet/authorise.js';
import { failure, value } from '../../../../contract/result.js';
import { withPorts } from '../../../../support/fleet/memory-agents.js';
import { memoryFleet, type TestDispatcher } from '../../../../support/fleet/memory-fleet.js';

const outcomes: fc.Arbitrary<HookOutcome> = fc.oneof(
  fc.constant<HookOutcome>({ kind: 'none' }),
  fc.integer({ min: 0, max: 255 }).map((code): HookOutcome => ({ kind: 'exited', code })),
  fc.constantFrom('SIGTERM', 'SIGKILL').map((signal): HookOutcome => ({ kind: 'signalled', signal })),
  fc.nat(600).map((seconds): HookOutcome => ({ kind: 'timed-out', seconds })),
  fc.string().map((reason): HookOutcome => ({ kind: 'not-run', reason })),
);

let control: TestDispatcher;
beforeEach(() => {
  control = memoryFleet().dispatcher();
});

describe('authorise', () => {
  it('lets pass exit 0, or no hook where that is allowed, and nothing else', async () => {
    await fc.assert(
      fc.asyncProperty(outcomes, fc.constantFrom('allow', 'deny'), async (outcome, withoutHook) => {
        const context = withPorts(control, { hook: { ask: () => okAsync(outcome) } });
        const verdict = await authorise(context, { action: 'run' }, {}, withoutHook);
        const yes =
          (outcome.kind === 'exited' && outcome.code === 0) ||
          (outcome.kind === 'none' && withoutHook === 'allow');
        expect(verdict.isOk()).toBe(yes);
        if (verdict.isErr()) expect(verdict.error.code).toBe('denied');
      }),
    );
  });

  it('fills in what the caller did not say', async () => {
    const hook = memoryAuthHook(() => ({ kind: 'none' }));
    value(await authorise(withPorts(control, { hook }), { action: 'ping' }, {}, 'allow'));
    expect(hook.asked).toMatchObject([
      { action: 'ping', script: '', hosts: [], args: [], username: '', token: '', sourceIp: '127.0.0.1' },
    ]);
  });

  it('logs who was denied what, without arguments and token', async () => {
    control.hook = { kind: 'exited', code: 2 };
    const question = { action: 'run', script: 'greet', hosts: ['web-01', 'web-02'], args: ['--pw=hunter2'] };
    const caller = { username: 'alice', token: 's3cret', sourceIp: '192.0.2.9' };
    failure(await authorise(control.context, question, caller, 'allow'));
    expect(control.events.events).toEqual([
      {
        action: 'denied',
        level: 'warning',
        fields: {
          request: 'run',
          script: 'greet',
          hosts: 'web-01,web-02',
          username: 'alice',
          ip: '192.0.2.9',
          reason: 'bad credentials',
        },
      },
    ]);
  });
});
