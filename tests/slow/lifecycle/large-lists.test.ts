import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { memoryKeyStore } from '../../../src/adapters/memory/key-store.js';
import { systemRandom } from '../../../src/adapters/node-crypto/random.js';
import { tlsChannel } from '../../../src/adapters/node-tls/channel.js';
import { tlsListener } from '../../../src/adapters/node-tls/listener.js';
import { x509CertificateAuthority } from '../../../src/adapters/x509/certificate-authority.js';
import { maxRevoked } from '../../../src/domain/trust/revocation-list.js';
import { type ServingAgent, serve } from '../../../src/sdk/agent/serve.js';
import { signRequest } from '../../../src/sdk/protocol/message-signing.js';
import { value } from '../../contract/result.js';
import { agentContext, dispatcherCredentials, trustedSerial } from '../../support/fleet/memory-agents.js';
import { crypto } from '../../support/fleet/memory-fleet.js';
import { askOver, certificateOf, jsonOf } from '../../support/network/network.js';

/** Bytes of a request with a revocation list (wire-protocol 2.4). */
const maxListBody = 8 * 1024 * 1024;

/** Serials of the length that RFC 5280 allows at most. */
const serials = Array.from(
  { length: maxRevoked },
  (_, at) => (0x7f_ff_ff_ff - at).toString(16) + 'ff'.repeat(16),
);

let largest: string;
let closing: (() => Promise<unknown>)[] = [];

type Parts = Awaited<ReturnType<typeof agentContext>>;

async function listOf({ ca, clock }: Parts, number: number, revoked: readonly string[]): Promise<string> {
  const keyStore = memoryKeyStore();
  value(await keyStore.replace({ 'ca-key': ca.keys.pem, 'ca-certificate': ca.pem }));
  const authority = x509CertificateAuthority({ keyStore, random: systemRandom(), crypto });
  const thisUpdate = clock.now();
  const entries = revoked.map((serial) => ({ serial, revokedAt: thisUpdate }));
  const list = {
    dispatcherId: 'control',
    number,
    revoked: entries,
    thisUpdate,
    nextUpdate: thisUpdate + 1000,
  };
  return value(await authority.revocationList(list)).pem;
}

beforeAll(async () => {
  largest = await listOf(await agentContext(), 7, serials);
});

afterEach(async () => {
  for (const close of closing) await close();
  closing = [];
});

/** An agent behind a port, and what its dispatcher asks there. */
async function listening() {
  const parts = await agentContext({ ports: { listener: tlsListener({ crypto }) } });
  const { context, own, ca } = parts;
  const credentials = await dispatcherCredentials(trustedSerial);
  const signer = { key: value(crypto.signingKey(credentials.key)), certificate: certificateOf(credentials) };
  const channel = tlsChannel({ crypto });
  let serving: ServingAgent;
  const up = async () => {
    serving = value(await serve(context, { bind: '127.0.0.1', port: 0 }));
  };
  await up();
  closing.push(
    () => channel.close(),
    () => serving.close(0),
  );
  const ask = async (path: string, body: unknown) => {
    const head = {
      method: 'POST',
      path,
      query: '',
      headers: [
        ['host', 'web-01:7443'],
        ['content-type', 'application/json'],
      ] as const,
      body: new TextEncoder().encode(JSON.stringify(body)),
    };
    const { port } = serving;
    const target = { host: '127.0.0.1', port, credentials, trust: [ca.pem], key: String(port) };
    const signature = signRequest(crypto, signer, head, {
      targetSpki: certificateOf(own).spki,
      now: context.clock.now(),
      nonce: systemRandom().bytes(16),
    });
    const headers = [...head.headers, ...signature];
    const answer = await askOver(channel, target, {
      ...head,
      headers,
      answerTimeout: 60_000,
      maxAnswer: maxListBody,
    });
    const { status, body: bytes } = value(answer);
    return { status, json: jsonOf({ status, headers: [], body: bytes }) };
  };
  const restart = async () => {
    await serving.close(0);
    await up();
  };
  return { parts, ask, restart };
}

describe('the largest list that there is', () => {
  it('fits into a request, with the longest serials', () => {
    expect(JSON.stringify({ crl_pem: largest }).length).toBeLessThan(0.75 * maxListBody);
  });

  it('is taken whole, holds also after a restart, and comes back whole with a 409', {
    timeout: 60_000,
  }, async () => {
    const { parts, ask, restart } = await listening();
    expect(await ask('/v2/crl', { crl_pem: largest })).toEqual({
      status: 200,
      json: { status: 'ok', number: 7 },
    });
    await restart();
    expect((await ask('/ping', {})).json['crl_number']).toBe(7);
    const next = await listOf(parts, 8, serials.slice(1));
    expect(await ask('/v2/crl', { crl_pem: next })).toEqual({
      status: 409,
      json: { status: 'error', error: expect.stringContaining('lacks serial'), crl_pem: largest, number: 7 },
    });
  });
});
