import { expect, it } from 'vitest';
import { apiMetrics } from '../../../../../src/apps/api/metrics/metrics.js';
import { value } from '../../../../contract/result.js';
import { memoryApi } from '../../../../support/api/memory-api.js';

it('hosts of runs are counted by the state in which they were left, and runs by what they come to', async () => {
  const { dispatcher, serve } = await memoryApi();
  await serve('web-01');
  const metrics = apiMetrics();
  const counted = metrics.dispatcher(dispatcher);
  const hosts = ['web-01', 'nobody'];
  value(await counted.run({ hosts: ['web-01'], script: 'greet' }));
  value(await counted.run({ hosts, script: 'fail' }));
  value(await counted.submit({ hosts: ['web-01'], script: 'greet' }));
  value(await counted.submit({ hosts, script: 'greet' }));
  expect((await counted.run({ hosts, script: 'a\0' })).isErr()).toBe(true);
  const text = await metrics.registry.metrics();
  for (const [state, count] of Object.entries({ succeeded: 1, failed: 1, unreachable: 2, running: 2 }))
    expect(text).toContain(`ctrl_exec_host_results_total{state="${state}"} ${count}\n`);
  for (const [labels, count] of [
    ['mode="sync",outcome="succeeded"', 1],
    ['mode="sync",outcome="failed"', 1],
    ['mode="sync",outcome="invalid_argument"', 1],
    ['mode="async",outcome="running"', 2],
  ])
    expect(text).toContain(`ctrl_exec_runs_total{${labels}} ${count}\n`);
});
