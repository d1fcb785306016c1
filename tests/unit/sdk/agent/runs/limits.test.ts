import { describe, expect, it } from 'vitest';
import { memoryFileSystem } from '../../../../../src/adapters/memory/file-system.js';
import { processOutcome } from '../../../../../src/adapters/memory/process-runner.js';
import type { ProcessOutcome, ProcessRequest } from '../../../../../src/ports/process-runner.js';
import { type AgentOptions, servingAgent } from '../../../../support/fleet/memory-agents.js';

const reqid = 'a3f9b2c100010002';

/** An agent whose one script is watched. */
async function watched(options: AgentOptions & { outcome?: ProcessOutcome } = {}) {
  const started: ProcessRequest[] = [];
  const agent = await servingAgent({
    programs: {
      '/opt/greet': (request) => {
        started.push(request);
        return options.outcome ?? processOutcome(0, 'out', 'err');
      },
    },
    ...options,
  });
  return { ...agent, started };
}

describe('timeouts', () => {
  it.each([
    [0, undefined, 0],
    [0, 5, 5000],
    [0, 604_800, 604_800_000],
    [30, undefined, 30_000],
    [30, 5, 5000],
    [30, 31, 30_000],
    [30, 30, 30_000],
  ])('with run_timeout %i, asked for %j: %i ms', async (allowed, timeout, expected) => {
    const { ask, started } = await watched({ configuration: `run_timeout = ${allowed}\n` });
    await ask({ body: { script: 'greet', timeout } });
    expect(started.map((request) => request.timeout)).toEqual([expected]);
  });

  it.each([0, -1, 1.5, 604_801, '5', null, true, [5], 1e300])('%j is refused', async (timeout) => {
    const { ask, started, asked } = await watched({ configuration: 'run_timeout = 30\n' });
    const { json } = await ask({ body: { script: 'greet', reqid, timeout } });
    expect(json).toMatchObject({ script: 'greet', exit: -1, reqid });
    expect(json['error']).toContain('timeout must be');
    expect([started, asked]).toEqual([[], []]);
  });

  it('a script that ran too long says how long it was given', async () => {
    const end = { kind: 'signalled', signal: 'SIGTERM' } as const;
    const { ask } = await watched({ outcome: processOutcome(end, '', '', 'timeout') });
    expect((await ask({ body: { script: 'greet', timeout: 5 } })).json).toMatchObject({
      exit: 126,
      error: 'killed by SIGTERM: ran longer than 5 s',
    });
  });
});

describe('script_dirs', () => {
  /** Files where `/opt/greet` is a link to `target`, which may change. */
  const linked = (target: () => string) => {
    const inner = memoryFileSystem({
      '/etc/ctrl-exec-agent/agent.conf': 'script_dirs = /srv/scripts:/opt/none\n',
      '/etc/ctrl-exec-agent/scripts.conf': 'greet = /opt/greet\n',
      '/opt/greet': '',
      '/srv/scripts/greet': '',
      '/srv/scripts-evil/greet': '',
      '/bin/sh': '',
    });
    return {
      ...inner,
      realPath: (path: string) => inner.realPath(path === '/opt/greet' ? target() : path),
    };
  };

  it('a link into one of them is executed at its real path', async () => {
    const started: string[] = [];
    const { ask, serving } = await servingAgent({
      ports: { files: linked(() => '/srv/scripts/greet') },
      programs: {
        '/srv/scripts/greet': ({ path }) => {
          started.push(path);
          return processOutcome(0);
        },
      },
    });
    expect(serving.warnings()).toEqual([]);
    expect((await ask({ body: { script: 'greet' } })).json).toMatchObject({ exit: 0 });
    expect(started).toEqual(['/srv/scripts/greet']);
  });

  it.each(['/bin/sh', '/srv/scripts-evil/greet'])('a link to %s is not in the allowlist', async (target) => {
    const { ask, serving } = await servingAgent({ ports: { files: linked(() => target) } });
    expect(serving.warnings()).toEqual([expect.stringContaining(`${target} is not in any of script_dirs`)]);
    expect((await ask({ body: { script: 'greet' } })).json['error']).toBe('script not permitted');
  });

  it('a link that leaves them after the load is not followed', async () => {
    let target = '/srv/scripts/greet';
    const { ask, started } = await watched({
      ports: { files: linked(() => target) },
      programs: { '/bin/sh': () => processOutcome(0), '/opt/greet': () => processOutcome(0) },
    });
    target = '/bin/sh';
    expect((await ask({ body: { script: 'greet', reqid } })).json).toMatchObject({
      script: 'greet',
      exit: 126,
      error: '/bin/sh is not in any of script_dirs',
      reqid,
    });
    expect(started).toEqual([]);
  });
});
