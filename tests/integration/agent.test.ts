import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import {
  configure,
  dispatcherCredentials,
  gate,
  pairedHost,
  rawRequest,
  reload,
} from '../support/fleet/fleet.js';

const host = pairedHost();
const { fresh, ask } = host;

describe('SIGHUP', () => {
  it('takes allowlist, tags and addresses anew, in the same process and without dropping a run', async () => {
    const agent = await fresh('[tags]\nstage = one\n');
    const busy = gate();
    agent.script('busy', busy.script);
    const daemon = await agent.serve();
    const credentials = dispatcherCredentials(host.control());
    const tags = async () =>
      JSON.parse((await rawRequest(agent.port, credentials, '/capabilities')).body).tags;
    expect(await tags()).toEqual({ stage: 'one' });
    const long = ask(agent, 'busy');
    await busy.started();

    configure(agent, 'script_dirs = /usr\n[tags]\nstage = two\n');
    writeFileSync(join(agent.home, 'scripts.conf'), 'new = /usr/bin/id\n');
    await reload(daemon, 'reloaded');
    expect(await tags()).toEqual({ stage: 'two' });
    expect((await ask(agent, 'new', ['-u'])).exit).toBe(0);
    expect((await ask(agent, 'busy')).error).toBe('script not permitted');
    busy.open();
    expect(await long).toMatchObject({ exit: 0, stdout: 'done\n' });

    configure(agent, 'allowed_ips = 10.0.0.0/8\n');
    await reload(daemon, 'reloaded', 2);
    await expect(ask(agent, 'new')).rejects.toThrow();
    expect(daemon.child.exitCode).toBe(null);
  });
});
