import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { asRoot } from '../../support/as-root.js';
import { dispatcherOnDisk, run, shared, start } from '../../support/commands/commands.js';
import { eventually } from '../../support/fleet/fleet.js';

const fleet = shared(async () => {
  const control = await dispatcherOnDisk();
  const agent = await control.pairAgent('web-01');
  agent.script('limit', '#!/bin/sh\nulimit -Sn\n');
  agent.script('missing-interpreter', '#!/nonexistent/sh\n');
  agent.script('leave', '#!/bin/sh\nfor i in 1 2 3 4 5; do (sleep 0.2 </dev/null >/dev/null 2>&1 &); done\n');
  agent.script('left', '#!/bin/sh\ncat /proc/[0-9]*/comm | grep -cx sleep\n');
  const ask = async (...words: readonly string[]) => {
    const { stdout } = await control.command('run', '--json', 'web-01', ...words);
    return JSON.parse(stdout).results[0] as { stdout: string; error?: string };
  };
  return { control, agent, ask };
});

/** Not by node, but by the first line of the file. */
const itself = 'shift';

describe('an agent that is started by its command', () => {
  it('gives scripts and jobs the soft limit of open files that it got', async () => {
    const { control, agent, ask } = fleet();
    const daemon = await agent.serve({ before: `${itself}; ulimit -Sn 345` });
    expect((await ask('limit')).stdout).toBe('345\n');
    const { reqid } = JSON.parse(
      (await control.command('run', '--async', '--json', 'web-01', 'limit')).stdout,
    );
    expect((await control.command('wait', reqid)).stdout).toMatch(/^ *345$/m);
    expect((await ask('missing-interpreter')).error).toMatch(/its interpreter does not exist \(ENOENT\)$/);
    expect((await daemon.stop()).code).toBe(0);
  });

  it('ends as Node does', async () => {
    expect((await run('ctrl-exec-agent', ['serve'], { home: '/nonexistent', before: itself })).code).toBe(78);
  });

  asRoot('reaps what scripts leave behind as the first process, and passes signals on', async () => {
    const { agent, ask } = fleet();
    const daemon = start('ctrl-exec-agent', ['serve'], {
      home: agent.home,
      before: `${itself}; set -- unshare -pf --mount-proc "$@"`,
    });
    await daemon.shows(/Serving on/);
    for (let count = 0; count < 4; count += 1) await ask('leave');
    await eventually(async () => expect((await ask('left')).stdout).toBe('0\n'));
    const { pid } = daemon.child;
    const first = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8'));
    process.kill(first, 'SIGHUP');
    await daemon.shows(/ACTION=reloaded/, 'stderr');
    process.kill(first, 'SIGTERM');
    expect((await daemon.ended).code).toBe(0);
    expect(daemon.output('stderr')).toMatch(/ACTION=stopped/);
  });

  asRoot('serves as the first process without standard input', async () => {
    const { agent } = fleet();
    const daemon = start('ctrl-exec-agent', ['serve'], {
      home: agent.home,
      before: 'exec <&-; set -- unshare -pf --kill-child --mount-proc "$@"',
    });
    await daemon.shows(/Serving on/);
  });

  asRoot('says that node as the first process reaps nothing', async () => {
    const { agent } = fleet();
    const daemon = start('ctrl-exec-agent', ['serve'], {
      home: agent.home,
      before: 'set -- unshare -pf --kill-child --mount-proc "$@"',
    });
    await daemon.shows(/ACTION=warning REASON="this is process 1 and .*docker run --init/, 'stderr');
  });
});
