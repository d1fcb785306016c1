import { afterAll, describe, expect, it } from 'vitest';
import { type ActionRunnerOptions, actionRunner } from '../../../../src/adapters/in-process/runner.js';
import { memoryEventLog } from '../../../../src/adapters/memory/event-log.js';
import type { ActionFunction } from '../../../../src/domain/runs/action.js';
import type { ProcessRequest } from '../../../../src/ports/process-runner.js';
import { value } from '../../../contract/result.js';
import { deferred } from '../../../support/network/network.js';

function running(
  action: ActionFunction,
  changes: Partial<ProcessRequest> = {},
  options: Partial<ActionRunnerOptions> = {},
) {
  const events = memoryEventLog();
  const runner = actionRunner({ actions: { it: action }, events, ...options });
  const outcome = runner.run({
    path: 'action:it',
    ...{ args: [], stdin: new Uint8Array(), env: {}, stdinTimeout: 1000, timeout: 0, maxOutput: 1024 },
    ...changes,
  });
  return { events, outcome: (async () => value(await outcome))() };
}

const text = ({ bytes }: { readonly bytes: Uint8Array }) => new TextDecoder().decode(bytes);
const turns = async (count: number) => {
  for (let turn = 0; turn < count; turn += 1) await new Promise((resolve) => setImmediate(resolve));
};

describe('an action', () => {
  it('waits for whoever follows it before it may write more', async () => {
    const asked = deferred<void>();
    const answer = deferred<boolean>();
    const done: string[] = [];
    const { outcome } = running(
      async ({ stdout }) => {
        await stdout.write('one');
        done.push('one');
      },
      {
        onOutput: () => {
          asked.resolve();
          return answer.promise;
        },
      },
    );
    await asked.promise;
    await turns(5);
    expect(done).toEqual([]);
    answer.resolve(true);
    expect(text((await outcome).stdout)).toBe('one');
    expect(done).toEqual(['one']);
  });

  it('is not held up by a follower who never answers, nor by one that it runs ahead of', async () => {
    const never = () => new Promise<boolean>(() => undefined);
    const patient = running(({ stdout }) => stdout.write('x'), { onOutput: never }, { sinkPatience: 30 });
    expect(text((await patient.outcome).stdout)).toBe('x');
    let calls = 0;
    const ahead = running(
      ({ stdout }) => {
        for (let part = 0; part < 12; part += 1) void stdout.write(new Uint8Array(1024 * 1024));
      },
      {
        onOutput: () => {
          calls += 1;
          return never();
        },
      },
    );
    expect((await ahead.outcome).stdout.total).toBe(12 * 1024 * 1024);
    expect(calls).toBeLessThanOrEqual(1);
  });

  it('prints what it wrote, whatever becomes of its buffer, and without waiting', async () => {
    const given: number[] = [];
    const { outcome } = running(
      ({ stdout }) => {
        const buffer = Buffer.from('abc');
        void stdout.write(buffer);
        buffer.fill(0);
        return 'd';
      },
      {
        onOutput: async (_, chunk) => {
          given.push(...chunk);
          return true;
        },
      },
    );
    expect(text((await outcome).stdout)).toBe('abcd');
    expect(given).toEqual([...Buffer.from('abcd')]);
  });

  it.each<[string, ActionFunction]>([
    ['that has returned', () => undefined],
    ['that is answered for', () => new Promise(() => undefined)],
  ])('%s and writes on is kept as far as its follower was given it', async (_what, ends) => {
    let given = '';
    let timer: NodeJS.Timeout | undefined;
    const { outcome } = running(
      async (context) => {
        void context.stdout.write('first\n');
        timer = setInterval(() => void context.stdout.write('more\n'), 1);
        await new Promise((resolve) => setTimeout(resolve, 20));
        return ends(context);
      },
      {
        timeout: 40,
        onOutput: async (_stream, chunk) => {
          await new Promise((resolve) => setTimeout(resolve, 3));
          given += new TextDecoder().decode(chunk);
          return true;
        },
      },
      { killAfter: 20 },
    );
    const { stdout } = await outcome;
    clearInterval(timer);
    expect(given).toMatch(/^first\n(more\n)+$/);
    expect(text(stdout)).toBe(given);
  });

  it('that writes for ever leaves this process its turns', async () => {
    const controller = new AbortController();
    const { outcome } = running(
      async ({ stdout, signal }) => {
        while (!signal.aborted) await stdout.write('x');
      },
      { signal: controller.signal },
    );
    await turns(50);
    controller.abort();
    expect(await outcome).toMatchObject({ stopped: 'cancelled', end: { kind: 'signalled' } });
  });

  let over = false;
  afterAll(() => {
    over = true;
  });
  it.each<[string, ActionFunction]>([
    ['waits for nothing', () => new Promise(() => undefined)],
    [
      'writes on',
      async ({ stdout }) => {
        while (!over) await stdout.write('x');
      },
    ],
  ])(
    'that ignores its signal and %s is answered for, and what it writes then is lost',
    async (_what, action) => {
      const { outcome, events } = running(action, { timeout: 20 }, { killAfter: 20 });
      const { goesOn, ...rest } = await outcome;
      expect(rest).toMatchObject({ stopped: 'timeout', end: { kind: 'signalled', signal: 'SIGTERM' } });
      expect(goesOn).toBeInstanceOf(Promise);
      expect(events.events).toMatchObject([{ action: 'action-goes-on', fields: { script: 'it' } }]);
    },
  );

  it('that ends late says so to whoever waits for it, also by throwing', async () => {
    const late = deferred<void>();
    const { outcome } = running(
      async () => {
        await late.promise;
        throw new Error('late');
      },
      { timeout: 10 },
      { killAfter: 10 },
    );
    const { goesOn } = await outcome;
    late.resolve();
    await expect(goesOn).resolves.toBeUndefined();
  });

  it('told to end keeps an exit code of its own, and is no success without one', async () => {
    const heeding =
      (value: undefined | number | string): ActionFunction =>
      ({ signal }) =>
        new Promise((resolve) => {
          signal.addEventListener('abort', () => resolve(value));
        });
    for (const [value, end] of [
      [undefined, { kind: 'signalled', signal: 'SIGTERM' }],
      ['partly', { kind: 'signalled', signal: 'SIGTERM' }],
      [0, { kind: 'exited', code: 0 }],
      [3, { kind: 'exited', code: 3 }],
    ] as const)
      expect(await running(heeding(value), { timeout: 10 }).outcome).toMatchObject({
        end,
        stopped: 'timeout',
      });
  });

  it('is not begun when it is to end by then', async () => {
    const controller = new AbortController();
    let begun = false;
    const { outcome } = running(
      () => {
        begun = true;
      },
      { signal: controller.signal },
    );
    controller.abort();
    expect(await outcome).toMatchObject({ stopped: 'cancelled', end: { kind: 'signalled' } });
    expect(begun).toBe(false);
  });

  const hostile = Object.defineProperty(new Error('x'), 'message', {
    get: () => {
      throw new Error('again');
    },
  });
  it.each<[string, unknown, string]>([
    ['an error', new TypeError('no such index'), 'no such index\n'],
    ['an error without a message', new RangeError(), 'RangeError\n'],
    ['a text', 'plain', 'plain\n'],
    ['nothing', undefined, 'undefined\n'],
    ['what throws again when it is read', hostile, 'Error\n'],
    ['what has no text', Object.create(null), 'it threw something without a text\n'],
  ])('may throw %s', async (_what, thrown, said) => {
    const { outcome, events } = running(() => {
      throw thrown;
    });
    const { end, stderr } = await outcome;
    expect([end, text(stderr)]).toEqual([{ kind: 'exited', code: 1 }, said]);
    expect(events.events).toHaveLength(1);
    expect(JSON.stringify(events.events)).not.toContain('no such index');
  });

  it.each([[-1], [256], [1.5], [Number.NaN], [true], [{}], [10n]])('may not return %s', async (value) => {
    const { end, stderr } = await running(() => value as never).outcome;
    expect(end).toEqual({ kind: 'exited', code: 1 });
    expect(text(stderr)).toMatch(
      /^the action returned .*, expected nothing, an exit code from 0 to 255, or a text\n$/,
    );
  });
});
