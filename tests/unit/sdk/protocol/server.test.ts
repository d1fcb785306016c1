import { randomBytes } from 'node:crypto';
import { ok, okAsync } from 'neverthrow';
import { expect, it } from 'vitest';
import { manualClock } from '../../../../src/adapters/memory/clock.js';
import { utf8 } from '../../../../src/domain/core/bytes.js';
import type { Handler, Handlers, ServerTrust } from '../../../../src/sdk/protocol/handler.js';
import { signRequest } from '../../../../src/sdk/protocol/message-signing.js';
import { server } from '../../../../src/sdk/protocol/server.js';
import { value } from '../../../contract/result.js';
import { dispatcherCredentials, signerOf } from '../../../support/fleet/memory-agents.js';
import { crypto } from '../../../support/fleet/memory-fleet.js';

/** A server whose only caller is `control`, and which answers runs by this handler. */
async function serving(run: Handlers['run']) {
  const clock = manualClock(Date.UTC(2026, 4, 6));
  const signer = signerOf(await dispatcherCredentials('abc123'));
  const { certificate } = signer;
  const told: unknown[] = [];
  const trust: ServerTrust = {
    identify: () => ok({ id: 'control', certificate }),
    signerOf: () => signer,
    whyMustSign: () => 'it must',
    onVerified: async () => undefined,
    onUnverified: (_, path, { reason }) => told.push([path, reason]),
    onMalformed: (_, { endpoint }, error) => told.push([endpoint, error]),
    claim: async () => undefined,
    whyNotAnnounced: async () => 'never',
    failed: (error) => told.push(error),
  };
  const answer = server({ crypto, clock }, trust).serve({ run } as unknown as Handlers);
  const ask = (text: string) => {
    const body = utf8(text);
    const headers = [
      ['host', 'web-01:7443'],
      ['content-type', 'application/json'],
    ] as const;
    const head = { method: 'POST', path: '/run', query: '', headers };
    const options = { targetSpki: certificate.spki, now: clock.now(), nonce: randomBytes(16) };
    const signature = signRequest(crypto, signer, { ...head, body }, options);
    return answer({
      ...head,
      headers: [...headers, ...signature],
      httpVersion: '1.1',
      peer: { address: '192.0.2.1', certificate, presented: certificate, tlsVersion: 'TLSv1.3' },
      body: () => okAsync(body),
    });
  };
  return { ask, told };
}

async function textOf({ stream }: Awaited<ReturnType<Awaited<ReturnType<typeof serving>>['ask']>>) {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream ?? []) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

const streaming =
  (then: Handler<never>): Handlers['run'] =>
  async (caller, _, call) => {
    const sink = value(call.stream)(() => undefined);
    await sink('stdout', utf8('hello'));
    return then(caller, undefined as never, call);
  };

it('a stream ends with the outcome of its handler, which is signed', async () => {
  const result = { exit: 0, stdout: 'hello', stderr: '' };
  const { ask } = await serving(streaming(async () => ({ outcome: 'ended', result }) as never));
  const text = await textOf(await ask('{"stream":true}'));
  expect(text).toMatch(/^\{"t":"out","d":"hello"\}\n\{"t":"end","result":\{"exit":0,.*"sig":/);
});

it.each<[string, Handler<never>, unknown[]]>([
  ['throws', () => Promise.reject(new Error('a bug')), [new Error('a bug')]],
  ['refuses', async () => ({ refused: 'busy', error: 'busy' }), []],
  [
    'has not given out all',
    async () => ({ outcome: 'ended', result: { exit: 0, stdout: 'hello you', stderr: '' } }) as never,
    [],
  ],
])('a stream whose handler %s has no end', async (_, then, failed) => {
  const { ask, told } = await serving(streaming(then));
  expect(await textOf(await ask('{"stream":true}'))).toBe('{"t":"out","d":"hello"}\n');
  expect(told).toEqual(failed);
});

it('a request that is not of the form reaches no handler, and who serves learns what was answered', async () => {
  const { ask, told } = await serving(() => Promise.reject(new Error('asked')));
  const { status, body } = await ask('{');
  expect([status, new TextDecoder().decode(body)]).toEqual([200, '{"exit":-1,"error":"invalid JSON"}']);
  expect(told).toEqual([['run', 'invalid JSON']]);
});
