import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { jsonAnswer } from '../../../../../src/domain/protocol/http-message.js';
import type { RunQuery } from '../../../../../src/domain/runs/query.js';
import { failure, value } from '../../../../contract/result.js';
import { otherRun } from '../../../../support/fleet/begun-runs.js';
import { scriptedAgent } from '../../../../support/fleet/memory-agents.js';
import {
  identifiedFleet,
  type MemoryFleet,
  type TestDispatcher,
} from '../../../../support/fleet/memory-fleet.js';

let fleet: MemoryFleet;
let control: TestDispatcher;

beforeEach(async () => {
  ({ fleet, control } = await identifiedFleet('run_ttl = 3600'));
});

const record = async (digit: string, startedAt: number) => {
  const asked = { args: ['a'], username: 'ann', sourceIp: '', reqid: digit.repeat(16), startedAt };
  value(await control.context.runStore.begin(otherRun(`web-${digit}`, 'job', asked), startedAt));
};
const runs = async (query?: RunQuery) => value(await control.dispatcher.runs(query));
const digits = async (query?: RunQuery) => (await runs(query)).runs.map(({ reqid }) => reqid[0]).join('');
const refused = async (query: object) => failure(await control.dispatcher.runs(query as RunQuery));

describe('runs', () => {
  it('are those that took place, with how they went and without what they printed', async () => {
    await scriptedAgent(fleet, control, 'web-01', ({ body: { reqid } }) =>
      jsonAnswer(200, { exit: 3, stdout: 'printed', stderr: '', reqid }),
    );
    const order = { hosts: ['WEB-01'], script: 'job', args: ['private'], caller: { username: 'ann' } };
    const { reqid } = value(await control.dispatcher.run(order));
    const page = await runs({ host: 'WEB-01', script: 'job', username: 'ann', outcome: 'failed' });
    expect(page).toEqual({
      runs: [
        {
          reqid,
          script: 'job',
          hosts: ['web-01'],
          mode: 'sync',
          principal: 'os:tester',
          username: 'ann',
          sourceIp: '127.0.0.1',
          startedAt: expect.any(Number),
          completedAt: expect.any(Number),
          outcome: 'failed',
          counts: { failed: 1 },
          failed: ['web-01'],
        },
      ],
    });
  });

  it('come in pages that stay as they are while runs are added', async () => {
    for (const [digit, at] of ['1', '2', '3', '4', '5'].entries()) await record(at, digit);
    const first = await runs({ limit: 2 });
    expect(first.runs.map(({ reqid }) => reqid[0])).toEqual(['5', '4']);
    await record('6', 6);
    const cursor = first.nextCursor ?? '';
    expect(await digits({ limit: 2, cursor })).toBe('32');
    const last = await runs({ limit: 3, cursor });
    expect(last.runs).toHaveLength(3);
    expect(last.nextCursor).toBeUndefined();
    expect(await digits()).toBe('654321');
  });

  it('are 50 unless more or fewer are asked for', async () => {
    for (let at = 0; at < 60; at += 1) {
      const reqid = at.toString(16).padStart(16, '0');
      value(await control.context.runStore.begin(otherRun(`web-${at}`, 'job', { reqid, startedAt: at }), at));
    }
    const first = await runs();
    expect(first.runs).toHaveLength(50);
    expect((await runs({ cursor: first.nextCursor ?? '' })).runs).toHaveLength(10);
  });

  it.each([
    ['limit', { limit: 0 }],
    ['limit', { limit: 201 }],
    ['limit', { limit: 1.5 }],
    ['limit', { limit: Number.NaN }],
    ['limit', { limit: '5' }],
    ['startedAfter', { startedAfter: 0.5 }],
    ['startedBefore', { startedBefore: Number.POSITIVE_INFINITY }],
    ['startedBefore', { startedBefore: '2026' }],
    ['outcome', { outcome: 'unheard' }],
    ['outcome', { outcome: '__proto__' }],
    ['host', { host: 'a\0b' }],
    ['script', { script: '\ud800' }],
    ['username', { username: 'x'.repeat(1025) }],
    ['username', { username: ['ann'] }],
    ['host', { host: { toLowerCase: 1 } }],
    ['cursor', { cursor: '' }],
    ['cursor', { cursor: 'x'.repeat(10_000_000) }],
    ['cursor', { cursor: ['MSBhYWFhYWFhYWFhYWFhYWFh'] }],
    ['cursor', { cursor: btoa(`1 ${'A'.repeat(16)}`) }],
    ['cursor', { cursor: btoa(`-1 ${'a'.repeat(16)}`) }],
    ['cursor', { cursor: btoa(`1 ${'a'.repeat(16)}\n`) }],
  ])('a wrong %s is refused', async (field, query) => {
    expect(await refused(query)).toMatchObject({ code: 'invalid_argument', field });
  });

  it('a forged cursor is a place in the list, and garbage is refused', async () => {
    await record('1', 1);
    await record('2', 2);
    const forged = btoa(`2 ${'0'.repeat(16)}`).replaceAll('=', '');
    expect(await digits({ cursor: forged })).toBe('1');
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary' }), async (cursor) => {
        expect((await refused({ cursor })).code).toBe('invalid_argument');
      }),
    );
  });

  it('are forgotten run_ttl after their end by maintenance, and by the next run', async () => {
    const { runStore } = control.context;
    const end = async (digit: string) => {
      const { results = [] } = value(await runStore.find(digit.repeat(16))) ?? {};
      const settledAt = fleet.clock.now();
      const ended = results.map((host) => ({ ...host, state: 'succeeded' as const, exit: 0, settledAt }));
      value(await runStore.settle(digit.repeat(16), ended, settledAt, 'left'));
    };
    await record('1', fleet.clock.now());
    await record('2', fleet.clock.now());
    await end('1');
    await fleet.clock.advance(3_600_001);
    value(await fleet.settle(control.dispatcher.maintain()));
    expect(await digits()).toBe('2');
    await end('2');
    await fleet.clock.advance(3_600_001);
    value(await control.dispatcher.run({ hosts: ['127.0.0.1:1'], script: 'job' }));
    // Whole ids: that of the new run is random, and may begin with a 2 as well.
    expect((await runs()).runs.map(({ reqid }) => reqid)).not.toContain('2'.repeat(16));
  });
});
