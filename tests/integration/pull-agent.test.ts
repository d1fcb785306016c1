import { describe, expect, it } from 'vitest';
import { run } from '../support/commands.js';
import { fakeControlPlane } from '../support/control-plane.js';

describe('ctrl-exec-agent pull', () => {
  it('once: a heartbeat and a poll, and no more', async () => {
    const plane = await fakeControlPlane();
    const ended = await run('ctrl-exec-agent', ['pull', '--once'], { env: plane.environment });
    expect([ended.code, plane.faults]).toEqual([0, []]);
    expect(plane.calls.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'POST /api/v1/agents/agent-1/heartbeat',
      'GET /api/v1/agents/agent-1/work',
    ]);
  });
});
