import { describe, expect, it } from 'vitest';
import { shared } from '../support/commands.js';
import { type LegacyAgentOptions, startLegacyAgent } from '../support/legacy/legacy-agent.js';
import { legacyCa } from '../support/legacy/legacy-ca.js';
import { legacyDispatcher } from '../support/legacy/legacy-dispatcher.js';
import { type LegacyScript, legacySerialScript } from '../support/legacy/legacy-run.js';
import type { LegacyVersion } from '../support/legacy/legacy-versions.js';

const installation = shared(async () => {
  // Serials of eight digits with a letter: every version takes them.
  const ca = await legacyCa({ bits: 2048, lastSerial: '1a000000' });
  return { ca, dispatcher: await ca.issue('ctrl-exec'), agent: await ca.issue('vm') };
});

const versions: readonly LegacyVersion[] = ['0.8', '0.9', '0.11', '0.12'];
const echo: LegacyScript = ({ args }) => ({ exit: 0, stdout: `${args.join(' ')}\n` });

async function peers(version: LegacyVersion, options: Partial<LegacyAgentOptions> = {}) {
  const { ca, dispatcher, agent: identity } = installation();
  const line = version === '0.8' ? dispatcher.serial : `${dispatcher.serial} control`;
  const scripts = new Map([['echo', echo], legacySerialScript]);
  const agent = await startLegacyAgent({ version, identity, trusted: [line], scripts, ...options });
  return { agent, dispatcher: legacyDispatcher({ version, identity: dispatcher, ca, bits: 2048 }) };
}

describe.each(versions)('simulated peers of %s', (version) => {
  it('ping and run', async () => {
    const { agent, dispatcher } = await peers(version);
    expect(await dispatcher.ping('127.0.0.1', agent.port)).toMatchObject({ status: 'ok', host: 'vm' });
    expect(await dispatcher.run('127.0.0.1', agent.port, { script: 'echo', args: ['a b'] })).toMatchObject({
      exit: 0,
      stdout: 'a b\n',
    });
    expect(agent.stopped()).toBeUndefined();
  });
});
