import { join } from 'node:path';
import { run, temporaryDirectory } from '../commands/commands.js';
import { legacyControlHost } from './hosts.js';
import type { LegacyVersion } from './versions.js';

/** Versions whose files differ. */
export const versions = ['0.8', '0.9', '0.12'] as const;

/** The command of ours on that home. */
export const control = (home: string, ...args: string[]) => run('ctrl-exec', args, { home });

export const agentsOf = async (home: string) => {
  const { stdout } = await control(home, 'list-agents', '--json');
  return (
    JSON.parse(stdout) as {
      agents: { name: string; hostname: string; ip: string; port: number; keys: unknown[] }[];
    }
  ).agents;
};

/** A control host of each, with agents; tests that change anything take a copy. */
export async function controlHosts() {
  const root = temporaryDirectory();
  const registering = async (version: LegacyVersion) => {
    const host = await legacyControlHost(join(root, version), { version });
    host.register('Web-01.example.com');
    host.register('db-02', { ip: '192.0.2.7', ...(version !== '0.8' && { lookup_by: 'ip', port: 7555 }) });
    return host;
  };
  return {
    '0.8': await registering('0.8'),
    '0.9': await registering('0.9'),
    '0.12': await registering('0.12'),
  };
}
