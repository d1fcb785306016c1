import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { freePort, run, start, temporaryDirectory } from '../../support/commands/commands.js';
import { legacyAgentHost, legacyControlHost } from '../../support/legacy/hosts.js';
import type { LegacyVersion } from '../../support/legacy/versions.js';

describe('a fleet of an older version', () => {
  it.each<[LegacyVersion, 1 | 3]>([
    ['0.8', 3],
    ['0.9', 1],
    ['0.12', 3],
  ])(
    'of %s moves, both sides, without pairing (CA of X.509 v%i)',
    { timeout: 60_000 },
    async (version, caVersion) => {
      const root = temporaryDirectory();
      const control = await legacyControlHost(join(root, 'control'), { version, caVersion });
      const port = await freePort();
      const host = await legacyAgentHost(join(root, 'agent'), {
        version,
        control,
        name: 'localhost',
        port,
        conf: 'bind = 127.0.0.1',
      });
      control.register('localhost', { port });
      const [dispatcherHome, agentHome] = [join(root, 'dispatcher'), join(root, 'managed')];
      expect(
        await run('ctrl-exec', ['import-state', control.directory], { home: dispatcherHome }),
      ).toMatchObject({ code: 0 });
      expect(
        await run('ctrl-exec-agent', ['import-state', host.directory], { home: agentHome }),
      ).toMatchObject({ code: 0 });

      const daemon = start('ctrl-exec-agent', ['serve'], { home: agentHome });
      await daemon.shows(/Serving on/);
      const ping = await run('ctrl-exec', ['ping', 'localhost', '--json'], { home: dispatcherHome });
      if (ping.code !== 0) throw new Error(ping.stdout + daemon.output('stderr'));
      expect(JSON.parse(ping.stdout)).toMatchObject({ results: [{ host: 'localhost', status: 'ok' }] });
      const listed = await run('ctrl-exec', ['list-agents', '--json'], { home: dispatcherHome });
      expect(JSON.parse(listed.stdout)).toMatchObject({
        agents: [{ name: 'localhost', keys: [{ state: 'active' }] }],
      });
      await daemon.stop();
    },
  );
});
