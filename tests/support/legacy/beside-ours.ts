import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { agentOnDisk } from '../commands/commands.js';
import { type LegacyCaOptions, legacyCa } from './ca.js';
import { oldFleet } from './fleet.js';

/** An agent of ours, under the CA of an old control host. */
export async function ourAgent(options: LegacyCaOptions = {}, conf = '') {
  const ca = await legacyCa({ bits: 2048, ...options });
  const identity = await ca.issue('ctrl-exec-dispatcher');
  const own = await ca.issue('web-01');
  const agent = await agentOnDisk('web-01', `accept_legacy_dispatchers = yes\n${conf}`);
  mkdirSync(join(agent.home, 'state'));
  const files = {
    'agent.key': own.key,
    'agent.crt': own.certificate,
    'ca.crt': ca.pem,
    'state/ctrl-exec-dispatchers': `${identity.serial} control\n`,
  };
  for (const [name, text] of Object.entries(files))
    writeFileSync(join(agent.home, name), text, { mode: 0o600 });
  agent.script('hello', '#!/bin/sh\nprintf "hello %s\\n" "$1"\nexit 3\n');
  agent.script('long', '#!/bin/sh\nprintf begin\nhead -c 300000 /dev/zero | tr "\\0" x\nprintf end\n');
  return { ca, identity, agent };
}

/** A control host of ours, taken over from an old one, with its first agent still old. */
export async function takenOver(
  version: '0.8' | '0.12',
  more: Parameters<Awaited<ReturnType<typeof oldFleet>>['agents'][0]['startOld']>[0],
) {
  const fleet = await oldFleet(version);
  const [one] = fleet.agents;
  const agent = await one.startOld(more);
  const imported = await fleet.command('import-state', fleet.control.directory);
  if (imported.code !== 0) throw new Error(imported.stderr);
  writeFileSync(fleet.conf, `${readFileSync(fleet.conf, 'utf8')}allow_legacy_agents = *\n`);
  return { ...fleet, name: one.name, agent };
}
