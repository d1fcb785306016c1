import { describe, expect, it } from 'vitest';
import { ourAgent, takenOver } from '../support/legacy/beside-ours.js';
import { legacyDispatcher } from '../support/legacy/dispatcher.js';

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
