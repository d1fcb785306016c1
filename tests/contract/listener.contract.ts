import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { jsonAnswer } from '../../src/domain/protocol/http-message.js';
import type { ChannelTarget, Credentials } from '../../src/ports/channel.js';
import type { IncomingRequest, Listening, ListenOptions } from '../../src/ports/listener.js';

import {
  type Asked,
  askOver,
  certificateOf,
  channelTargetOf,
  deferred,
  echo,
  type Identities,
  jsonOf,
  listen,
  listenOptions,
  makeIdentities,
  type Network,
} from '../support/network/network.js';
import { testCa } from '../support/network/test-pki.js';
import { failure, value } from './result.js';

/** What holds for every listener; `open` gives a fresh network for each test. */
export function listenerContract(name: string, open: () => Network): void {
  describe(`listener: ${name}`, () => {
    let identities: Identities;
    const closing: (() => Promise<void>)[] = [];

    beforeAll(async () => {
      identities = await makeIdentities();
    });
    afterEach(async () => {
      for (const close of closing.splice(0)) await close();
    });

    /** A listener that records whom it refused and what it handled, and a channel to it. */
    async function serve(options: Partial<ListenOptions> = {}) {
      const network = open();
      const refused: string[] = [];
      const failed: unknown[] = [];
      const handled: IncomingRequest[] = [];
      const refusal = deferred();
      const { handle = echo, ...others } = options;
      const all = listenOptions(identities, {
        refused(address, reason) {
          refused.push(`${address} ${reason}`);
          refusal.resolve();
        },
        failed: (error) => failed.push(error),
        handle(request) {
          handled.push(request);
          return handle(request);
        },
        ...others,
      });
      const listening: Listening = await listen(network.listener, all);
      closing.push(() => listening.close(0));
      const channel = network.channel();
      closing.push(() => channel.close());
      const ask = (request: Asked = {}, target: Partial<ChannelTarget> = {}) =>
        askOver(channel, channelTargetOf(identities, network.host, listening.port, target), request);
      const askAs = (credentials: Credentials) => ask({}, { credentials, key: credentials.certificate });
      return { network, listening, channel, ask, askAs, refused, refusal, failed, handled, all };
    }

    it('hands over the request as it was sent, with who sent it', async () => {
      const { ask, handled, network } = await serve({
        async handle(request) {
          const body = value(await request.body());
          return { status: 200, headers: [], body };
        },
      });
      const body = Uint8Array.from({ length: 256 }, (_, byte) => byte);
      const answer = await ask({
        method: 'PUT',
        path: '/a/b%20c',
        query: '?x=1&y=%3F?',
        headers: [
          ['x-one', 'first'],
          ['x-one', 'second'],
          ['x-two', 'ÿ'],
        ],
        body,
      });
      expect(value(answer).body).toEqual(body);
      const [request] = handled;
      expect(request).toMatchObject({ method: 'PUT', path: '/a/b%20c', query: '?x=1&y=%3F?' });
      expect(request?.headers.filter(([key]) => key.startsWith('x-'))).toEqual([
        ['x-one', 'first'],
        ['x-one', 'second'],
        ['x-two', 'ÿ'],
      ]);
      expect(request?.peer.address).toBe(network.address);
      expect(request?.peer.tlsVersion).toBe('TLSv1.3');
      expect(request?.peer.certificate).toEqual(certificateOf(identities.dispatcher));
      expect(request?.peer.presented).toEqual(certificateOf(identities.agent));
    });

    it('sends the answer as the handler gave it', async () => {
      const body = Uint8Array.from({ length: 70_000 }, (_, at) => at % 251);
      const { ask } = await serve({
        handle: async () => ({
          status: 409,
          headers: [
            ['X-Mixed', 'a, b'],
            ['set-thing', 'one'],
            ['set-thing', 'two'],
          ],
          body,
        }),
      });
      const answer = value(await ask());
      expect(answer.status).toBe(409);
      expect(Buffer.compare(answer.body, body)).toBe(0);
      expect(answer.headers).toEqual(
        expect.arrayContaining([
          ['x-mixed', 'a, b'],
          ['set-thing', 'one'],
          ['set-thing', 'two'],
        ]),
      );
    });

    it('sends an empty answer', async () => {
      const { ask } = await serve({
        handle: async ({ path }) => ({
          status: path === '/none' ? 204 : 200,
          headers: [],
          body: new Uint8Array(),
        }),
      });
      for (const [path, status] of [
        ['/none', 204],
        ['/empty', 200],
        ['/none', 204],
      ] as const) {
        const answer = value(await ask({ path }));
        expect([answer.status, answer.body.length]).toEqual([status, 0]);
      }
    });

    it('gives the body once and the same, however often it is asked for', async () => {
      const { ask } = await serve({
        async handle(request) {
          const [a, b] = [await request.body(), await request.body()];
          return jsonAnswer(200, {
            same: Buffer.compare(value(a), value(b)) === 0,
          });
        },
      });
      expect(jsonOf(value(await ask()))).toEqual({ same: true });
    });

    it('refuses a client without a certificate before anything is handled', async () => {
      const { network, listening, channel, refused, refusal, handled } = await serve();
      const { credentials: _, ...anonymous } = channelTargetOf(identities, network.host, listening.port);
      const answer = await askOver(channel, anonymous);
      expect(failure(answer).code).toMatch(/^(connection_failed|tls_failed)$/);
      await refusal.promise;
      expect(refused).toEqual([`${network.address} NO_CERTIFICATE`]);
      expect(handled).toEqual([]);
    });

    it('refuses a client of another CA', async () => {
      const { askAs, refused, refusal, handled } = await serve();
      const answer = await askAs(await identities.otherCa.issue({ usages: ['clientAuth'] }));
      expect(failure(answer).code).toMatch(/^(connection_failed|tls_failed)$/);
      await refusal.promise;
      expect(refused).toHaveLength(1);
      expect(refused[0]).toMatch(/UNABLE_TO_VERIFY_LEAF_SIGNATURE|CERT_SIGNATURE_FAILURE/);
      expect(handled).toEqual([]);
    });

    it("refuses a client with a server's certificate", async () => {
      const { askAs, refused, refusal, handled, network } = await serve();
      const answer = await askAs(identities.agent);
      expect(failure(answer).code).toMatch(/^(connection_failed|tls_failed)$/);
      await refusal.promise;
      expect(refused).toEqual([`${network.address} INVALID_PURPOSE`]);
      expect(handled).toEqual([]);
    });

    it('lets in certificates without extensions, with both usages, and of any CA that it was given', async () => {
      const legacy = await testCa({ commonName: 'legacy CA', version1: true });
      const { askAs, refused } = await serve({
        clientCas: [identities.ca.pem, legacy.pem],
      });
      for (const credentials of [
        await legacy.issue({ commonName: 'version 1', version1: true }),
        await identities.ca.issue({ commonName: 'any usage' }),
        await identities.ca.issue({ commonName: 'both', usages: ['serverAuth', 'clientAuth'] }),
      ]) {
        const answer = await askAs(credentials);
        const { commonName } = certificateOf(credentials);
        expect(jsonOf(value(answer))['client']).toBe(commonName);
      }
      expect(refused).toEqual([]);
    });

    it('asks for no certificate where none is required', async () => {
      const network = open();
      const { clientCas: _, ...options } = listenOptions(identities);
      const listening = await listen(network.listener, options);
      closing.push(() => listening.close(0));
      const channel = network.channel();
      closing.push(() => channel.close());
      const target = channelTargetOf(identities, network.host, listening.port);
      const answer = await askOver(channel, target);
      expect(jsonOf(value(answer))).not.toHaveProperty('client');
    });

    it('closes what `admit` does not want', async () => {
      const asked: string[] = [];
      const { ask, handled, network } = await serve({
        admit(address) {
          asked.push(address);
          return false;
        },
      });
      expect(failure(await ask()).code).toBe('connection_failed');
      expect(asked).toEqual([network.address]);
      expect(handled).toEqual([]);
    });

    it('tells who was refused and what that one has shown', async () => {
      const shown: (string | undefined)[] = [];
      const { ask, askAs } = await serve({
        refused: (_address, _reason, certificate) => shown.push(certificate?.commonName),
      });
      expect((await askAs(identities.agent)).isErr()).toBe(true);
      expect((await ask()).isOk()).toBe(true);
      expect(shown).toEqual(['agent']);
    });

    it('answers once whom `knows` does not know, and closes; it is asked with each connection', async () => {
      const asked: (string | undefined)[] = [];
      const { ask, askAs, handled, network } = await serve({
        knows({ address, certificate, presented }) {
          expect([address, presented]).toEqual([network.address, certificateOf(identities.agent)]);
          asked.push(certificate?.commonName);
          return certificate?.commonName === 'dispatcher';
        },
      });
      const stranger = await identities.ca.issue({ commonName: 'stranger', usages: ['clientAuth'] });
      for (const count of [1, 2, 3]) {
        expect(jsonOf(value(await askAs(stranger)))['client']).toBe('stranger');
        expect(value(await ask()).status).toBe(200);
        expect(handled).toHaveLength(2 * count);
      }
      expect(asked.sort()).toEqual(['dispatcher', 'stranger', 'stranger', 'stranger']);
      expect((await askAs(await identities.otherCa.issue())).isErr()).toBe(true);
      expect(asked).toHaveLength(4);
    });

    it('serves whom `admit` prefers, at once or later', async () => {
      for (const delay of [0, 20]) {
        const { ask } = await serve({ admit: () => ({ delay }) });
        expect(value(await ask({ body: new Uint8Array(100_000) })).status).toBe(200);
      }
    });

    it('waits for what `admit` and `knows` decide', async () => {
      const soon = <T>(answer: T) => new Promise<T>((resolve) => setImmediate(() => resolve(answer)));
      for (const admitted of [true, { delay: 0 }, { delay: 20 }]) {
        const { ask, handled } = await serve({ admit: () => soon(admitted), knows: () => soon(true) });
        for (let count = 0; count < 2; count++)
          expect(value(await ask({ body: new Uint8Array(100_000) })).status).toBe(200);
        expect(handled).toHaveLength(2);
      }
      const { ask, handled } = await serve({ admit: () => soon(false) });
      expect(failure(await ask()).code).toBe('connection_failed');
      expect(handled).toEqual([]);
    });

    it('answers nobody while that is undecided', async () => {
      for (const undecided of ['admit', 'knows'] as const) {
        const decision = deferred<boolean>();
        const { ask, handled } = await serve({ [undecided]: () => decision.promise });
        const answer = ask();
        for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
        expect(handled).toEqual([]);
        decision.resolve(true);
        expect(value(await answer).status).toBe(200);
      }
    });

    it('closes connections above the limit at once', async () => {
      const { ask, refused, refusal, network } = await serve({ maxConnections: 2 });
      for (const key of ['a', 'b']) expect((await ask({}, { key })).isOk()).toBe(true);
      expect(failure(await ask({}, { key: 'c' })).code).toBe('connection_failed');
      await refusal.promise;
      expect(refused).toEqual([`${network.address} TOO_MANY_CONNECTIONS`]);
      expect((await ask({}, { key: 'a' })).isOk()).toBe(true);
    });

    it('answers 431 above 32 header lines, and goes on', async () => {
      const { ask, handled } = await serve();
      const lines = (count: number) =>
        Array.from({ length: count }, (_, at) => [`x-${at}`, String(at)] as const);
      expect(value(await ask({ headers: lines(33) })).status).toBe(431);
      expect(handled).toEqual([]);
      // Host, Connection and Content-Length come on top.
      expect(value(await ask({ headers: lines(29) })).status).toBe(200);
    });

    it('gives `too_large` for a body above the limit, and the answer to that arrives', async () => {
      const { ask } = await serve({ maxBody: 1_000 });
      expect(value(await ask({ body: new Uint8Array(1_000) })).status).toBe(200);
      for (const size of [1_001, 300_000]) {
        const answer = value(await ask({ body: new Uint8Array(size) }));
        expect(answer.status).toBe(413);
        expect(jsonOf(answer)).toEqual({ error: 'too_large' });
      }
      expect(value(await ask()).status).toBe(200);
    });

    it('reads as much of a body as the handler says, more and less than the limit of the listener', async () => {
      const { ask } = await serve({
        maxBody: 1_000,
        async handle(request) {
          const body = await request.body(request.path === '/much' ? 2_000_000 : 10);
          return jsonAnswer(body.isOk() ? 200 : 413, {
            size: body.isOk() ? body.value.length : body.error.code,
          });
        },
      });
      const sized = async (path: string, size: number) =>
        jsonOf(value(await ask({ path, body: new Uint8Array(size) })))['size'];
      expect(await sized('/much', 2_000_000)).toBe(2_000_000);
      expect(await sized('/much', 2_000_001)).toBe('too_large');
      expect(await sized('/little', 10)).toBe(10);
      expect(await sized('/little', 11)).toBe('too_large');
    });

    it('sends the answer of a handler that did not read the body', async () => {
      const { ask } = await serve({ handle: async () => jsonAnswer(403, { error: 'forbidden' }) });
      for (const size of [0, 10, 900_000])
        expect(value(await ask({ body: new Uint8Array(size) })).status).toBe(403);
    });

    it('answers 500 and reports it when the handler throws', async () => {
      const bug = new Error('a bug with a secret');
      const { ask, failed } = await serve({ handle: () => Promise.reject(bug) });
      const answer = value(await ask());
      expect(answer.status).toBe(500);
      expect(jsonOf(answer)).toEqual({ error: 'internal error' });
      expect(failed).toEqual([bug]);
    });

    it('shows renewed credentials to new connections and keeps the established ones', async () => {
      const { ask, listening } = await serve();
      const renewed = await identities.ca.issue({ commonName: 'renewed', usages: ['serverAuth'] });
      const serialOf = async (key: string) => value(await ask({}, { key })).peer.serial;
      const former = certificateOf(identities.agent).serial;
      expect(await serialOf('old')).toBe(former);
      listening.renew(renewed);
      expect(await serialOf('old')).toBe(former);
      expect(await serialOf('new')).toBe(certificateOf(renewed).serial);
    });

    it('tells with each request which certificate its connection was shown, whatever was renewed since', async () => {
      const { ask, listening, handled } = await serve();
      const renewed = await identities.ca.issue({ commonName: 'renewed', usages: ['serverAuth'] });
      const presentedTo = async (key: string) => {
        value(await ask({}, { key }));
        return handled.at(-1)?.peer.presented;
      };
      const [former, next] = [certificateOf(identities.agent), certificateOf(renewed)];
      expect(await presentedTo('old')).toEqual(former);
      listening.renew(renewed);
      expect(await presentedTo('old')).toEqual(former);
      expect(await presentedTo('new')).toEqual(next);
      expect(await presentedTo('old')).toEqual(former);
      listening.renew(identities.agent, [identities.ca.pem]);
      expect(await presentedTo('new')).toEqual(next);
      expect(await presentedTo('newer')).toEqual(former);
    });

    it('still requires client certificates after a renewal that names no CAs', async () => {
      const { askAs, listening, handled, refusal } = await serve();
      listening.renew(identities.agent);
      expect((await askAs(await identities.otherCa.issue())).isErr()).toBe(true);
      await refusal.promise;
      expect(handled).toEqual([]);
      expect((await askAs(identities.dispatcher)).isOk()).toBe(true);
    });

    it('lets in clients of CAs added by a renewal, and no more those of CAs removed', async () => {
      const { askAs, listening, handled, refusal } = await serve();
      const other = await identities.otherCa.issue({ commonName: 'other', usages: ['clientAuth'] });
      expect((await askAs(identities.dispatcher)).isOk()).toBe(true);
      listening.renew(identities.agent, [identities.otherCa.pem]);
      expect(jsonOf(value(await askAs(other)))['client']).toBe('other');
      expect((await askAs(identities.dispatcher)).isErr()).toBe(true);
      await refusal.promise;
      expect(handled).toHaveLength(2);
    });

    it('keeps the former credentials when a renewal cannot be used, and reports it', async () => {
      const { ask, listening, failed } = await serve();
      listening.renew({ key: identities.dispatcher.key, certificate: identities.agent.certificate });
      expect(failed).toEqual([expect.objectContaining({ code: 'certificate_invalid' })]);
      const answer = await ask({}, { key: 'after' });
      expect(value(answer).peer.serial).toBe(certificateOf(identities.agent).serial);
    });

    it('lets a request under way finish when it closes, and accepts no other', async () => {
      const [started, release] = [deferred(), deferred()];
      const { ask, listening } = await serve({
        async handle() {
          started.resolve();
          await release.promise;
          return jsonAnswer(200, { late: true });
        },
      });
      const answer = ask({}, { key: 'under way' });
      await started.promise;
      const closed = listening.close(20_000);
      expect((await ask({}, { key: 'too late' })).isErr()).toBe(true);
      release.resolve();
      expect(jsonOf(value(await answer))).toEqual({ late: true });
      await closed;
      expect(failure(await ask({}, { key: 'under way' })).code).toBe('connection_refused');
    });

    it('waits for requests under way no longer than the grace', async () => {
      const [started, release] = [deferred(), deferred()];
      const { ask, listening } = await serve({
        async handle() {
          started.resolve();
          await release.promise;
          return jsonAnswer(200, {});
        },
      });
      const answer = ask();
      await started.promise;
      await listening.close(20);
      release.resolve();
      expect(failure(await answer).code).toBe('connection_failed');
    });

    it('can be closed twice', async () => {
      const { listening } = await serve();
      await Promise.all([listening.close(1_000), listening.close(1_000)]);
    });

    describe('an answer that streams', () => {
      const text = (value: string) => new TextEncoder().encode(value);
      const head = {
        status: 200,
        headers: [['content-type', 'application/x-ndjson']],
        body: text('0'),
      } as const;

      it('is sent as it comes, after its body, and the connection goes on', async () => {
        const { ask, failed } = await serve({
          handle: async ({ path }) => ({
            ...head,
            stream: (async function* () {
              for (let part = 1; part < 5; part += 1) yield text(`${part}${path}`);
              yield new Uint8Array();
              yield new Uint8Array(100_000).fill(46);
            })(),
          }),
        });
        for (const path of ['/a', '/b']) {
          const answer = value(await ask({ path }));
          expect(answer.status).toBe(200);
          expect(answer.headers).toContainEqual(['content-type', 'application/x-ndjson']);
          expect(Buffer.from(answer.body).toString()).toBe(
            `01${path}2${path}3${path}4${path}${'.'.repeat(100_000)}`,
          );
        }
        expect(failed).toEqual([]);
      });

      /** Gives some, then nothing, until it is ended. */
      function endless() {
        const ended = deferred();
        const begun = deferred();
        let given = 0;
        const stream: AsyncIterable<Uint8Array> = {
          [Symbol.asyncIterator]: () => ({
            next: async () => {
              given += 1;
              if (given < 3) return { done: false, value: text('x') };
              begun.resolve();
              await ended.promise;
              return { done: true, value: undefined };
            },
            return: async () => {
              ended.resolve();
              return { done: true, value: undefined };
            },
          }),
        };
        return { stream, ended: ended.promise, begun: begun.promise };
      }

      it('is ended when the asker goes away', async () => {
        const { stream, ended, begun } = endless();
        const { ask, failed } = await serve({ handle: async () => ({ ...head, stream }) });
        const leaving = new AbortController();
        const asking = ask({ signal: leaving.signal });
        await begun;
        leaving.abort();
        expect(failure(await asking).code).toBe('aborted');
        await ended;
        expect(failed).toEqual([]);
      });

      it('is ended when the listener closes and its grace is over', async () => {
        const { stream, ended, begun } = endless();
        const { ask, listening } = await serve({ handle: async () => ({ ...head, stream }) });
        const asking = ask();
        await begun;
        await listening.close(0);
        await ended;
        expect((await asking).isErr()).toBe(true);
      });

      it('that fails is broken off, and is never taken for whole', async () => {
        const { ask, failed } = await serve({
          handle: async () => ({
            ...head,
            // biome-ignore lint/correctness/useYield: it fails before it has given anything more
            stream: (async function* (): AsyncGenerator<Uint8Array> {
              throw new Error('a bug');
            })(),
          }),
        });
        expect((await ask()).isErr()).toBe(true);
        expect(failed).toEqual([new Error('a bug')]);
      });
    });

    it('says that a port is taken', async () => {
      const { network, listening, all } = await serve();
      const second = await network.listener.listen({ ...all, port: listening.port });
      const error = failure(second);
      expect(error).toMatchObject({
        code: 'listen_failed',
        bind: '127.0.0.1',
        port: listening.port,
        reason: 'EADDRINUSE',
      });
      expect(error.message).not.toMatch(/\n/);
    });

    it("says that a key is not its certificate's, or no key, without telling it", async () => {
      const { network, all } = await serve();
      const { agent, dispatcher } = identities;
      for (const key of [dispatcher.key, 'not PEM', '']) {
        const listened = await network.listener.listen({
          ...all,
          credentials: { key, certificate: agent.certificate },
        });
        const error = failure(listened);
        expect(error.code).toBe('certificate_invalid');
        expect(error.message).not.toMatch(/\n|PRIVATE KEY/);
      }
    });
  });
}
