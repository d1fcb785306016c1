import { describe, expect, it } from 'vitest';
import { value } from '../../../contract/result.js';
import { servers } from '../../adapters/node-tls/channel/servers.js';
import { legacyInstallation, versions } from './shared-installation.js';

const { installation, agentOf } = legacyInstallation();
const { client } = servers();

describe.each(versions)('our channel and a simulated agent of %s', (version) => {
  it('every request has its answer, and no handshake ends the agent', async () => {
    const agent = await agentOf(version);
    const { dispatcher, ca } = installation();
    const { ask, channel } = client(agent.port, { credentials: dispatcher, trust: [ca.pem] });
    const body = new TextEncoder().encode('{"reqid":"1"}');
    const one = await ask({ body });
    const more = await Promise.all([ask({ body }), ask({ body }), ask({ body })]);
    for (const answer of [one, ...more]) expect(value(answer).status).toBe(200);
    await channel.close();
    expect(agent.stopped()).toBeUndefined();
    expect(agent.exchanges).toHaveLength(4);
  });
});
