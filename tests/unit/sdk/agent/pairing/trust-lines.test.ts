import { describe, expect, it } from 'vitest';
import { createAgent } from '../../../../../src/sdk/agent/agent.js';
import { identityItems, install } from '../../../../../src/sdk/agent/pairing/installation.js';
import { loadSettings } from '../../../../../src/sdk/agent/state/state.js';
import { failure, value } from '../../../../contract/result.js';
import { agentContext, dispatcherCredentials, signerOf } from '../../../../support/fleet/memory-agents.js';

/** An agent with this trust file, and what pairs with it. */
async function agentThatTrusts(trust: string, more: { origins?: string; held?: readonly string[] } = {}) {
  const agent = await agentContext({ trust });
  const { context, keyStore, ca, own } = agent;
  const held = await Promise.all(
    (more.held ?? []).map((serial) => dispatcherCredentials(serial, { uris: [] })),
  );
  value(
    await keyStore.replace({
      'trust-origins': more.origins ?? '',
      'dispatcher-certificates': held.map(({ certificate }) => certificate).join('') || null,
    }),
  );
  const { settings } = value(await loadSettings(context));
  const { certificate, key: signing } = signerOf(own);
  const cas = [value(context.crypto.readCertificate(ca.pem))];
  /** Pairs with a dispatcher that has these serials. */
  const paired = async (dispatcherId: string, serials: readonly string[], signs = true) => {
    const present = value(await keyStore.read(identityItems));
    const dispatchers = await Promise.all(
      serials.map(
        async (serial) => signerOf(await dispatcherCredentials(serial, { id: dispatcherId })).certificate,
      ),
    );
    return install(context, settings, present, {
      key: { pem: own.key, signing, fresh: false },
      replace: false,
      certificate,
      whom: { dispatcherId, cas, casAreKnown: false, endorsements: [], serials, dispatchers },
      signs,
    });
  };
  const documents = async () =>
    value(await keyStore.read(['trusted-dispatchers', 'dispatcher-certificates', 'trust-origins']));
  return { ...agent, paired, documents };
}

describe('the trust lines of a pairing', () => {
  it('come with the certificates where the dispatcher signs, and without where it does not', async () => {
    const agent = await agentThatTrusts('a1 old\n');
    value(await agent.paired('control', ['c1', 'c2']));
    value(await agent.paired('legacy-control', ['d1'], false));
    const { 'trusted-dispatchers': lines, 'dispatcher-certificates': pems = '' } = await agent.documents();
    expect(lines).toBe('a1 old\nc1 control\nc2 control\nd1 legacy-control\n');
    expect(pems.split('-----BEGIN')).toHaveLength(3);
  });

  it("are nobody else's: who brought such a serial before is forgotten", async () => {
    const agent = await agentThatTrusts('a1 control\nc1 control\n', { origins: 'c1 a1\n' });
    value(await agent.paired('control', ['c1']));
    expect((await agent.documents())['trust-origins']).toBe('');
  });

  it.each(['c1\n', 'c1 other\n'])('take the place of %j, which nothing proves', async (line) => {
    const agent = await agentThatTrusts(line);
    value(await agent.paired('control', ['c1']));
    expect((await agent.documents())['trusted-dispatchers']).toBe('c1 control\n');
  });

  it.each([true, false])(
    'do not take the place of another dispatcher that signs (signs: %s)',
    async (signs) => {
      const agent = await agentThatTrusts('c1 other\n', { held: ['c1'] });
      expect(failure(await agent.paired('control', ['c1'], signs))).toMatchObject({
        code: 'certificate_invalid',
        reason: 'belongs to another dispatcher',
      });
      expect((await agent.documents())['trusted-dispatchers']).toBe('c1 other\n');
    },
  );

  it('do not take the place of any other by version 1, which proves nothing', async () => {
    const agent = await agentThatTrusts('c1 other\n');
    expect(failure(await agent.paired('control', ['c1'], false)).code).toBe('certificate_invalid');
  });

  it('are refused by version 1 of a dispatcher that signs, until a person says that it is a legacy one again', async () => {
    const agent = await agentThatTrusts('c1 control\n', { held: ['c1'] });
    const refused = failure(await agent.paired('control', ['c2'], false));
    expect(refused.code).toBe('downgrade_refused');
    expect(refused.message).toContain('ctrl-exec-agent trust --unsigned c1');
    value(await createAgent(agent.context).acceptUnsigned('c1'));
    value(await agent.paired('control', ['c2'], false));
  });

  it('are refused of a dispatcher that is named legacy', async () => {
    const agent = await agentThatTrusts('a1 old\n');
    expect(failure(await agent.paired('legacy', ['c1'])).code).toBe('invalid_argument');
    // One of 0.8 says no id.
    value(await agent.paired('legacy', ['c1'], false));
  });
});
