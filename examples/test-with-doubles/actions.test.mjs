import { deepEqual } from 'node:assert/strict';
import test from 'node:test';
import { memoryFleet } from 'ctrl-exec/testing';
import { actions, reindex } from './actions.mjs';

test('reindex names the agents on which it failed', async () => {
  const tags = { role: 'search' };
  const fleet = await memoryFleet({
    agents: { a: { actions, tags }, b: { actions, tags }, other: { tags: { role: 'web' } } },
  });
  deepEqual(await reindex(fleet, 'search', ['s1', 's2']), []);
  fleet.setOnline('b', false);
  deepEqual(await reindex(fleet, 'search', ['s1']), ['b']);
  await fleet.close();
});
