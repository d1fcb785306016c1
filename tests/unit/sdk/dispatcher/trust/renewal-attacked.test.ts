import { describe, expect, it } from 'vitest';
import { hex } from '../../../../../src/domain/core/bytes.js';
import { jsonAnswer } from '../../../../../src/domain/protocol/http-message.js';
import { readDispatcherIdentity } from '../../../../../src/sdk/dispatcher/trust/identity.js';
import { renewAgent } from '../../../../../src/sdk/dispatcher/trust/renewal.js';
import { validFor } from '../../../../../src/sdk/dispatcher/trust/validity.js';
import { value } from '../../../../contract/result.js';
import { recordOf } from '../../../../support/fleet/lifecycle.js';
import { register, scriptedAgent } from '../../../../support/fleet/memory-agents.js';
import { crypto, identifiedFleet, memoryFleet } from '../../../../support/fleet/memory-fleet.js';

describe('an agent that was broken into', () => {
  const requests = memoryFleet().agent('any').context.certificateRequests;

  /** A dispatcher, an agent that answers a renewal with this CSR, and what happens then. */
  async function renewing(csr: string) {
    const { fleet, control } = await identifiedFleet();
    const { seen } = await scriptedAgent(fleet, control, 'web', ({ path }) =>
      jsonAnswer(200, path === '/renew' ? { status: 'ok', csr } : { status: 'ok' }),
    );
    const identity = value(await readDispatcherIdentity(control.context));
    const outcome = async () => {
      await renewAgent(control.context, identity, await recordOf(control, 'web'));
      return seen.find(({ path }) => path === '/renew-complete')?.body['cert'];
    };
    return { fleet, control, outcome };
  }
  const fresh = async () => value(await crypto.generateKey('p256'));

  it('gets a certificate in its own name, whatever name its CSR asks for', async () => {
    const { outcome } = await renewing(value(await requests.create(await fresh(), 'db')));
    expect(value(crypto.readCertificate(String(await outcome())))).toMatchObject({
      commonName: 'web',
      dnsNames: ['web'],
      uris: ['ctrl-exec:agent:web'],
      usages: ['serverAuth'],
    });
  });

  it('gets none over the key of another agent, whose CSR it has come by', async () => {
    const key = await fresh();
    const { control, outcome } = await renewing(value(await requests.create(key, 'db')));
    const { spki } = value(crypto.signingKey(key));
    const profile = { kind: 'agent', name: 'db' } as const;
    const certificate = value(
      await control.context.authority.issue(profile, spki, validFor(control.context, 365)),
    );
    const credentials = { key, certificate: certificate.pem };
    await register(control, 'db', { credentials, certificate, spkiSha256: hex(crypto.sha256(spki)) });
    expect(await outcome()).toBeUndefined();
    expect((await recordOf(control, 'web')).pins).toHaveLength(1);
  });
});
