import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { agentOnDisk } from '../support/commands/commands.js';
import { type LegacyCaOptions, legacyCa } from '../support/legacy/ca.js';
import { legacyDispatcher } from '../support/legacy/dispatcher.js';
import { oldFleet } from '../support/legacy/fleet.js';

/** An agent of ours, under the CA of an old control host. */
async function ourAgent(options: LegacyCaOptions = {}, conf = '') {
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

describe('our agent', () => {
  it('gives an old dispatcher no more than it can take', async () => {
    const { identity, agent } = await ourAgent();
    await agent.serve();
    const old = legacyDispatcher({ version: '0.12', identity });
    const ran = await old.run('127.0.0.1', agent.port, { script: 'long' });
    expect(ran).toMatchObject({ exit: 0, truncated: { stdout: 300_008 } });
    expect(/^begin[\s\S]*left out[\s\S]*end$/.test(String(ran['stdout']))).toBe(true);
  });
});

/** A control host of ours, taken over from an old one, with its first agent still old. */
async function takenOver(
  version: '0.8' | '0.12',
  more: Parameters<Awaited<ReturnType<typeof oldFleet>>['agents'][0]['startOld']>[0],
) {
  const fleet = await oldFleet(version);
  const [one] = fleet.agents;
  const agent = await one.startOld(more);
  const imported = await fleet.command('import-state', fleet.control.directory);
  expect(imported.code, imported.stderr).toBe(0);
  writeFileSync(fleet.conf, `${readFileSync(fleet.conf, 'utf8')}allow_legacy_agents = *\n`);
  return { ...fleet, name: one.name, agent };
}

describe('an old agent', () => {
  it('whose key is not the pinned one is refused without ending it', async () => {
    const { name, agent, command, agents, control } = await takenOver('0.12', {});
    expect((await command('ping', name)).code).toBe(0);
    await agent.close();
    const impostor = await agents[0].startOld({
      identity: await control.ca.issue(name, { key: agents[1].old.agent.key }),
    });
    const refused = await command('ping', name);
    expect(refused.stdout).toContain('wrong identity');
    expect({
      asked: impostor.exchanges.filter(({ request }) => request),
      stopped: impostor.stopped(),
    }).toEqual({
      asked: [],
      stopped: undefined,
    });
  });
});
