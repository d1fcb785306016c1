import { errAsync, okAsync } from 'neverthrow';
import { Registry } from 'prom-client';
import { expect, it, vi } from 'vitest';
import { fleetGauges } from '../../../../../src/apps/api/metrics/fleet-gauges.js';
import { failure } from '../../../../../src/domain/core/errors.js';
import type { AgentRecord } from '../../../../../src/domain/trust/agent-record.js';
import { newStanding } from '../../../../../src/domain/trust/agent-standing.js';
import type { Dispatcher } from '../../../../../src/sdk/dispatcher/dispatcher.js';

const day = 86_400_000;

/** An agent whose certificate ends in so many days; undefined: its key was not seen yet. */
const agent = (name: string, days: number | undefined, serials: readonly string[] = ['aa']): AgentRecord => ({
  name,
  endpoint: { host: name, ip: '192.0.2.1', port: 7443, lookupBy: 'ip' },
  pins:
    days === undefined
      ? []
      : [{ spkiSha256: name, state: 'active', serial: '1a', notAfter: Date.now() + days * day, issuedAt: 0 }],
  pairing: 'v2',
  pairedAt: 0,
  tags: {},
  standing: newStanding(serials),
});

function fleet(
  records: readonly AgentRecord[],
  states: Readonly<Record<string, 'current' | 'pending' | 'stale'>>,
) {
  const agents = vi.fn(() => okAsync(records));
  const dispatcher = {
    agents,
    ca: () => okAsync({ fingerprint: '', notAfter: Date.now() + 100 * day }),
    serialStatus: () =>
      okAsync({
        current: 'aa',
        notAfter: Date.now() + 10 * day,
        agents: records.map(({ name }) => ({ name, state: states[name] ?? 'current' })),
      }),
    pairingRequests: () => okAsync([{}, {}]),
    locks: () => errAsync(failure('store_failed', 'broken', { operation: 'list', reason: 'broken' })),
  };
  return { agents, dispatcher: dispatcher as unknown as Dispatcher };
}

it('agents are counted by state; what cannot be looked up is left out and counted', async () => {
  const registry = new Registry();
  const records = [
    agent('a', 30),
    agent('b', 30),
    agent('c', 30),
    agent('d', -1),
    agent('e', undefined),
    agent('f', 30, []),
  ];
  const { dispatcher } = fleet(records, { b: 'pending', c: 'stale', f: 'stale' });
  await fleetGauges(registry).refresh(dispatcher, undefined);
  const text = await registry.metrics();
  for (const [state, count] of Object.entries({ current: 1, pending: 1, stale: 1, expired: 1, unknown: 2 }))
    expect(text).toContain(`ctrl_exec_agents{state="${state}"} ${count}\n`);
  expect(text).toMatch(/ctrl_exec_certificate_expiry_days\{certificate="agent"\} -1\b/);
  expect(text).toContain('ctrl_exec_pairing_requests_waiting 2\n');
  expect(text).toContain('ctrl_exec_scrape_failures 1\n');
  expect(text).not.toMatch(/^ctrl_exec_locks_held /m);
  expect(text).not.toContain('certificate="api"');
});

it('of many agents only the twenty have a gauge whose certificates end first', async () => {
  const registry = new Registry();
  const records = Array.from({ length: 50 }, (_, index) => agent(`n${index}`, 300 - index));
  await fleetGauges(registry).refresh(fleet(records, {}).dispatcher, undefined);
  const named = [...(await registry.metrics()).matchAll(/expiry_days\{agent="(n\d+)"\}/g)].map(
    ([, name]) => name,
  );
  expect(named.sort()).toEqual(Array.from({ length: 20 }, (_, index) => `n${30 + index}`));
});

it('scrapes that come together or within five seconds look once', async () => {
  vi.useFakeTimers();
  try {
    const { dispatcher, agents } = fleet([agent('a', 1)], {});
    const gauges = fleetGauges(new Registry());
    await Promise.all([1, 2, 3].map(() => gauges.refresh(dispatcher, undefined)));
    await gauges.refresh(dispatcher, undefined);
    expect(agents).toHaveBeenCalledTimes(1);
    vi.advanceTimersByTime(5_000);
    await gauges.refresh(dispatcher, undefined);
    expect(agents).toHaveBeenCalledTimes(2);
  } finally {
    vi.useRealTimers();
  }
});
