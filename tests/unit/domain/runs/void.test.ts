import { expect, it } from 'vitest';
import type { HostResult } from '../../../../src/domain/runs/host-result.js';
import { afterNews } from '../../../../src/domain/runs/progress.js';

const begunAt = 1_000_000;
const minute = 60_000;

const after = (before: Partial<HostResult>, completeSince: number) =>
  afterNews(
    {
      ...{ host: 'web-01', script: 'job', reqid: 'r1', state: 'unknown' },
      ...{ exit: -1, stdout: '', stderr: '', rtt: 0 },
      ...before,
    },
    { said: { status: 'void', completeSince }, rtt: 1 },
    { underWay: false },
    begunAt + 10 * minute,
  );

it('void proves nothing where the records of the agent begin too late', () => {
  expect(after({ begunAt }, begunAt).state).toBe('unknown');
});

it.each<[string, Partial<HostResult>, number, string]>([
  ['its records reach back a minute behind the beginning', { begunAt }, begunAt - minute, 'unreachable'],
  ['they reach back less far', { begunAt }, begunAt - minute + 1, 'unknown'],
  ['it has said before that it runs', { begunAt, seenAt: begunAt }, begunAt - minute, 'unknown'],
  ['nobody knows when it was begun', {}, 0, 'unknown'],
])('a run that its agent does not know is settled where %s (%o, %i: %s)', (_, before, since, state) => {
  const { failure, settledAt, ...result } = after(before, since);
  expect([result.state, settledAt]).toEqual([state, begunAt + 10 * minute]);
  expect(failure?.code).toBe(state === 'unknown' ? 'forgotten' : 'connection_failed');
});
