import { okAsync } from 'neverthrow';
import { expect, it } from 'vitest';
import { manualClock } from '../../../src/adapters/memory/clock.js';
import { countingRandom } from '../../../src/adapters/memory/random.js';
import { pullSettings } from '../../../src/domain/settings/pull.js';
import type { PullApi } from '../../../src/sdk/deploy/pull/api.js';
import { pullLoop } from '../../../src/sdk/deploy/pull/loop.js';
import { value } from '../../contract/result.js';
import { pullWorld } from '../../support/deployment/pull-world.js';
import { memoryPullKeys } from '../../support/memory/pull-keys.js';

const minutes = 60_000;

it('a thousand agents that start together do not call together', async () => {
  const { context } = await pullWorld();
  const settings = value(
    pullSettings({}, context.variables, { file: 'agent.conf', fileTrust: 'strict', parsed: undefined }),
  ).settings;
  const clock = manualClock();
  const perSecond: number[] = Array(600).fill(0);
  const call = () => {
    const second = Math.floor(clock.monotonic() / 1000);
    perSecond[second] = (perSecond[second] ?? 0) + 1;
  };
  const api = {
    heartbeat: () => okAsync(undefined).andTee(call),
    work: () => okAsync({ jobs: [], left: 0 }).andTee(call),
  } as unknown as PullApi;
  const stop = new AbortController();
  const agents = Array.from({ length: 1000 }, (_, agent) => {
    const random = countingRandom(`agent ${agent}`);
    const session = {
      context: { ...context, clock, random },
      settings,
      api,
      keys: memoryPullKeys(),
      deployment: undefined as never,
      events: context.events,
      once: new Set<never>(),
      stop: stop.signal,
    };
    return pullLoop(session, false);
  });
  await clock.advance(10 * minutes - 1);
  stop.abort();
  await Promise.all(agents);
  // 1000 heartbeats a minute and 2000 polls.
  const mean = perSecond.reduce((sum, count) => sum + count, 0) / perSecond.length;
  expect(Math.abs(mean - 50)).toBeLessThan(1);
  expect(Math.max(...perSecond)).toBeLessThan(50 + 6 * Math.sqrt(50));
  expect(Math.min(...perSecond)).toBeGreaterThan(50 - 6 * Math.sqrt(50));
});
