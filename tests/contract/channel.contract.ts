import { err, ok } from 'neverthrow';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { failure as errorOf } from '../../src/domain/core/errors.js';
import { type HeaderList, jsonAnswer } from '../../src/domain/protocol/http-message.js';
import type { Channel, ChannelTarget, Connection, ConnectOptions } from '../../src/ports/channel.js';
import type { IncomingRequest, Listener, ListenOptions } from '../../src/ports/listener.js';
import {
  type Asked,
  askOver,
  certificateOf,
  channelTargetOf,
  deferred,
  echo,
  exchangeOf,
  type Identities,
  jsonOf,
  listen,
  listenOptions,
  makeIdentities,
} from '../support/network/network.js';
import { selfSigned } from '../support/network/test-pki.js';
import { failure, value } from './result.js';

/** A listener, and channels that reach it at `host`. */
interface ChannelNetwork {
  readonly host: string;
  readonly listener: Listener;
  channel(): Channel;
}

/** What holds for every channel; `open` gives a fresh network for each test. */
export function channelContract(name: string, open: () => ChannelNetwork): void {
  describe(`channel: ${name}`, () => {
    let identities: Identities;
    const closing: (() => Promise<void>)[] = [];

    beforeAll(async () => {
      identities = await makeIdentities();
    });
    afterEach(async () => {
      for (const close of closing.splice(0)) await close();
    });

    /** A listener that counts its connections and what it handles, and a channel to it. */
    async function serve(options: Partial<ListenOptions> = {}) {
      const network = open();
      const handled: IncomingRequest[] = [];
      const { handle = echo, ...others } = options;
      let accepted = 0;
      const listening = await listen(
        network.listener,
        listenOptions(identities, {
          handle(request) {
            handled.push(request);
            return handle(request);
          },
          admit() {
            accepted += 1;
            return true;
          },
          ...others,
        }),
      );
      const channel = network.channel();
      closing.push(
        () => channel.close(),
        () => listening.close(0),
      );
      const target = (more: Partial<ChannelTarget> = {}) =>
        channelTargetOf(identities, network.host, listening.port, more);
      const ask = <E = never>(request: Asked<E> = {}, more: Partial<ChannelTarget> = {}) =>
        askOver<E>(channel, target(more), request);
      const connect = (more: Partial<ChannelTarget> = {}, how: Partial<ConnectOptions> = {}) =>
        channel.connect(target(more), { timeout: 5_000, ...how });
      const connected = async (...given: Parameters<typeof connect>): Promise<Connection> =>
        value(await connect(...given));
      return {
        ...{ network, listening, channel, target, ask, connect, connected, handled },
        connections: () => accepted,
      };
    }

    /** A handler that can be held up. */
    function holding() {
      const [started, release] = [deferred(), deferred()];
      const handle = async () => {
        started.resolve();
        await release.promise;
        return jsonAnswer(200, { late: true });
      };
      return { started, release, handle };
    }

    describe('a connection', () => {
      it("shows the listener's certificate, and how requests name it; nothing is sent yet", async () => {
        const { connected, network, listening, handled } = await serve();
        const { peer, kept, authority, discard } = await connected();
        expect(peer).toEqual(certificateOf(identities.agent));
        expect([kept, authority]).toEqual([false, `${network.host}:${listening.port}`]);
        discard();
        expect(handled).toEqual([]);
      });

      it('that was given back is kept for the next one of the same key', async () => {
        const { connected, connections } = await serve();
        for (const expected of [false, true, true]) {
          const { peer, kept, exchange, release } = await connected();
          expect(peer).toEqual(certificateOf(identities.agent));
          expect(kept).toBe(expected);
          expect((await exchange(exchangeOf())).isOk()).toBe(true);
          release();
        }
        expect(connections()).toBe(1);
      });

      it('may carry several requests of one lease, and be given back without any', async () => {
        const { connected, connections, handled } = await serve();
        const { exchange, release } = await connected();
        for (const body of ['a', 'b']) {
          const answer = value(await exchange(exchangeOf({ body: new TextEncoder().encode(body) })));
          expect(jsonOf(answer)['body']).toBe(body);
        }
        release();
        (await connected()).release();
        expect((await connected()).kept).toBe(true);
        expect([connections(), handled.length]).toEqual([1, 2]);
      });

      it('is leased to one at a time; the last one given back is the next one taken', async () => {
        const { connected, listening, connections } = await serve();
        const first = await connected();
        listening.renew(await identities.ca.issue({ usages: ['serverAuth'] }));
        const second = await connected();
        expect(second.kept).toBe(false);
        first.release();
        second.release();
        const again = [await connected(), await connected()];
        expect(again.map(({ peer }) => peer.serial)).toEqual([second.peer.serial, first.peer.serial]);
        expect((await connected()).kept).toBe(false);
        expect(connections()).toBe(3);
      });

      it('that was discarded, or did not carry its request, is not kept', async () => {
        const { connected } = await serve();
        (await connected()).discard();
        const broken = await connected();
        expect(broken.kept).toBe(false);
        expect((await broken.exchange(exchangeOf({ signal: AbortSignal.abort() }))).isErr()).toBe(true);
        broken.discard();
        expect((await connected()).kept).toBe(false);
      });

      it('is made anew where none that was kept is wanted, which stays where it is', async () => {
        const { connected } = await serve();
        (await connected()).release();
        const fresh = await connected({}, { fresh: true });
        expect(fresh.kept).toBe(false);
        expect((await connected()).kept).toBe(true);
        fresh.discard();
      });

      it('is another one for another key, or on other terms', async () => {
        const { connected } = await serve();
        (await connected({ key: 'a' })).release();
        expect((await connected({ key: 'b' })).kept).toBe(false);
        for (const terms of [
          { credentials: await identities.ca.issue({ commonName: 'next', usages: ['clientAuth'] }) },
          { trust: [identities.otherCa.pem, identities.ca.pem] },
          { allowExpired: true },
          { tls13Only: true },
        ]) {
          const other = await connected({ key: 'a', ...terms });
          expect(other.kept).toBe(false);
          other.release();
        }
      });

      it('shows who is behind it, also where the listener has another certificate by now', async () => {
        const { connected, listening } = await serve();
        const renewed = await identities.ca.issue({ usages: ['serverAuth'] });
        (await connected({ key: 'old' })).release();
        listening.renew(renewed);
        (await connected({ key: 'new' })).release();
        for (const [key, credentials] of [
          ['old', identities.agent],
          ['new', renewed],
        ] as const) {
          const { peer, kept } = await connected({ key });
          expect([kept, peer.serial]).toEqual([true, certificateOf(credentials).serial]);
        }
      });

      it('is not kept where the listener ends it with its answer', async () => {
        const { ask, connections } = await serve({ knows: () => false });
        for (let count = 0; count < 2; count++) value(await ask());
        expect(connections()).toBe(2);
      });

      it('that was closed meanwhile is known to have sent nothing', async () => {
        for (const kept of [false, true]) {
          const { connected, listening, handled } = await serve();
          if (kept) (await connected()).release();
          const connection = await connected();
          expect(connection.kept).toBe(kept);
          await listening.close(0);
          const error = failure(await connection.exchange(exchangeOf()));
          expect(error).toMatchObject({ code: 'connection_failed', sent: false });
          expect(handled).toEqual([]);
        }
      });

      it('is closed by `forget` of its key, or of all', async () => {
        const { connected, connections, channel } = await serve();
        const both = async () => {
          const before = connections();
          for (const key of ['a', 'b']) (await connected({ key })).release();
          return connections() - before;
        };
        expect(await both()).toBe(2);
        channel.forget('a');
        expect(await both()).toBe(1);
        channel.forget();
        expect(await both()).toBe(2);
        channel.forget('never seen');
        expect(await both()).toBe(0);
      });

      it('that is leased when its key is forgotten still answers, and is not kept', async () => {
        const { started, release, handle } = holding();
        const { connected, channel } = await serve({ handle });
        const connection = await connected();
        const answer = connection.exchange(exchangeOf());
        await started.promise;
        channel.forget();
        release.resolve();
        expect(jsonOf(value(await answer))).toEqual({ late: true });
        connection.release();
        expect((await connected()).kept).toBe(false);
      });
    });

    describe('whom it connects to', () => {
      it('has a certificate of the CAs of the target', async () => {
        const { ask, handled } = await serve();
        const error = failure(await ask({}, { trust: [identities.otherCa.pem] }));
        expect(error.code).toBe('tls_failed');
        expect(error.message).not.toMatch(/\n/);
        expect((await ask({}, { trust: [identities.otherCa.pem, identities.ca.pem] })).isOk()).toBe(true);
        expect(handled).toHaveLength(1);
      });

      it("has a server's certificate", async () => {
        const { connect } = await serve({ credentials: identities.dispatcher });
        expect(failure(await connect())).toMatchObject({ code: 'tls_failed', reason: 'INVALID_PURPOSE' });
      });

      it("may have any where trust is 'any'", async () => {
        const { connect, ask } = await serve({ credentials: await selfSigned('pairing') });
        expect(failure(await connect()).code).toBe('tls_failed');
        expect(value(await ask({}, { trust: 'any' })).peer.commonName).toBe('pairing');
      });

      it('may have an expired one where that is said, and no other that would not be taken', async () => {
        const expired = {
          notBefore: new Date(Date.now() - 7_200_000),
          notAfter: new Date(Date.now() - 3_600_000),
        };
        const usages = ['serverAuth'] as const;
        const outcomes: Record<string, string> = {};
        for (const [what, credentials] of [
          ['expired', await identities.ca.issue({ ...expired, usages })],
          ['expired, of another CA', await identities.otherCa.issue({ ...expired, usages })],
          ['expired, for clients', await identities.ca.issue({ ...expired, usages: ['clientAuth'] })],
          ['signed by itself', await selfSigned()],
          ['as it should be', identities.agent],
        ] as const) {
          const { ask, handled } = await serve({ credentials });
          const answer = await ask({}, { allowExpired: true });
          outcomes[what] = answer.match(
            () => 'answered',
            ({ code }) => code,
          );
          expect(handled).toHaveLength(answer.isOk() ? 1 : 0);
        }
        expect(outcomes).toEqual({
          expired: 'answered',
          'expired, of another CA': 'tls_failed',
          'expired, for clients': 'tls_failed',
          'signed by itself': 'tls_failed',
          'as it should be': 'answered',
        });
      });

      it('sees the credentials of the target, and does not answer where it does not take them', async () => {
        const { ask, handled } = await serve();
        const next = await identities.ca.issue({ commonName: 'next', usages: ['clientAuth'] });
        expect(jsonOf(value(await ask()))['client']).toBe('dispatcher');
        expect(jsonOf(value(await ask({}, { credentials: next })))['client']).toBe('next');
        const stranger = await identities.otherCa.issue({ usages: ['clientAuth'] });
        const error = failure(await ask({}, { credentials: stranger }));
        expect(['connection_failed', 'tls_failed']).toContain(error.code);
        expect(handled).toHaveLength(2);
      });

      it('is nobody where nothing listens, or the name does not resolve', async () => {
        const { connect, listening, network } = await serve();
        await listening.close(0);
        expect(failure(await connect())).toMatchObject({
          code: 'connection_refused',
          host: network.host,
          port: listening.port,
        });
        const error = failure(await connect({ host: 'nowhere.invalid', key: 'nowhere' }));
        expect(error).toMatchObject({ code: 'host_unresolved', host: 'nowhere.invalid' });
        expect(error.message).toContain('nowhere.invalid');
      });

      it('is known by name, or not', async () => {
        const { network, channel } = await serve();
        const unknown = (host: string) => channel.isUnknownHost(host);
        expect(await unknown('nowhere.invalid')).toBe(true);
        for (const host of [network.host, '192.0.2.1', '2001:db8::1'])
          expect(await unknown(host)).toBe(false);
      });
    });

    describe('an exchange', () => {
      it('gives each of many requests at a time its own answer', async () => {
        const { ask, handled } = await serve();
        const numbers = Array.from({ length: 40 }, (_, number) => number);
        const answers = await Promise.all(
          numbers.map((number) => ask({ body: new TextEncoder().encode(`#${number}`) })),
        );
        expect(answers.map((answer) => jsonOf(value(answer))['body'])).toEqual(
          numbers.map((number) => `#${number}`),
        );
        expect(handled).toHaveLength(40);
      });

      it('sends method, path, query, headers and body as they are', async () => {
        const { ask, handled } = await serve();
        const headers = [
          ['x-a', '1'],
          ['x-a', '2'],
          ['x-b', 'é'],
        ] as const;
        value(await ask({ method: 'PUT', path: '/a%20b', query: '?c=d', headers }));
        expect(handled).toMatchObject([{ method: 'PUT', path: '/a%20b', query: '?c=d', httpVersion: '1.1' }]);
        expect(handled[0]?.headers.filter(([named]) => named.startsWith('x-'))).toEqual(headers);
      });

      it('follows no redirect', async () => {
        const { ask, handled } = await serve({
          handle: async () => ({ status: 307, headers: [['location', '/else']], body: new Uint8Array() }),
        });
        const answer = value(await ask());
        expect(answer.status).toBe(307);
        expect(answer.headers).toContainEqual(['location', '/else']);
        expect(handled).toHaveLength(1);
      });

      it('ends when the answer takes too long', async () => {
        const { release, handle } = holding();
        const { ask } = await serve({ handle });
        const error = failure(await ask({ answerTimeout: 50 }));
        expect(error).toMatchObject({ code: 'timed_out', phase: 'answer', timeoutMs: 50, sent: true });
        release.resolve();
        expect((await ask()).isOk()).toBe(true);
      });

      it('accepts an answer of the largest size and none above', async () => {
        const { ask } = await serve({
          handle: async () => ({ status: 200, headers: [], body: new Uint8Array(100_000) }),
        });
        expect(value(await ask({ maxAnswer: 100_000 })).body).toHaveLength(100_000);
        const error = failure(await ask({ maxAnswer: 99_999 }));
        expect(error).toMatchObject({ code: 'too_large', limit: 99_999, sent: true });
      });

      it('sends nothing when it is aborted beforehand', async () => {
        const { connect, connected, handled, connections } = await serve();
        const signal = AbortSignal.abort();
        expect(failure(await connect({}, { signal })).code).toBe('aborted');
        expect(connections()).toBe(0);
        const { exchange } = await connected();
        const error = failure(await exchange(exchangeOf({ signal })));
        expect(error).toMatchObject({ code: 'aborted', sent: false });
        expect(handled).toEqual([]);
      });

      it('stops waiting when it is aborted', async () => {
        const { started, release, handle } = holding();
        const { ask } = await serve({ handle });
        const abort = new AbortController();
        const answer = ask({ signal: abort.signal });
        await started.promise;
        abort.abort();
        expect(failure(await answer)).toMatchObject({ code: 'aborted', sent: true });
        release.resolve();
      });

      it('is not made again when the connection breaks', async () => {
        const { started, handle } = holding();
        const { ask, listening, handled } = await serve({ handle });
        const answer = ask();
        await started.promise;
        await listening.close(0);
        expect(failure(await answer)).toMatchObject({ code: 'connection_failed', sent: true });
        expect(handled).toHaveLength(1);
      });

      it('ends as aborted when the channel closes, which makes no further connections', async () => {
        const { started, release, handle } = holding();
        const { ask, connected, connect, channel, handled } = await serve({ handle });
        const idle = await connected();
        const answer = ask();
        await started.promise;
        await channel.close();
        expect(failure(await answer)).toMatchObject({ code: 'aborted', sent: true });
        expect(failure(await idle.exchange(exchangeOf()))).toMatchObject({ code: 'aborted', sent: false });
        expect(failure(await connect()).code).toBe('aborted');
        expect(handled).toHaveLength(1);
        release.resolve();
      });
    });

    describe('a body that is consumed as it comes', () => {
      const bytes = (text: string) => new TextEncoder().encode(text);
      const textOf = (parts: readonly Uint8Array[]) => Buffer.concat(parts).toString('utf8');
      /** Listens to a handler that has read its request, and streams. */
      const serveStream = (stream: () => AsyncIterable<Uint8Array>) =>
        serve({
          async handle(request) {
            value(await request.body());
            return { status: 200, headers: [['x-kind', 'a']], body: bytes('head '), stream: stream() };
          },
        });

      it('is told the head first, and gets every byte in order; the answer has none', async () => {
        const parts: Uint8Array[] = [];
        const heads: unknown[] = [];
        async function* stream() {
          for (let part = 0; part < 50; part++) yield bytes(`${part} `);
        }
        const { ask, connections } = await serveStream(stream);
        const answer = await ask({
          maxAnswer: 1,
          onBody: (head) => {
            heads.push(head);
            return async (part) => {
              parts.push(part);
              return ok(undefined);
            };
          },
        });
        const { status, body } = value(answer);
        expect([status, body.length]).toEqual([200, 0]);
        expect(textOf(parts)).toBe(`head ${Array.from({ length: 50 }, (_, part) => `${part} `).join('')}`);
        expect(heads).toMatchObject([{ status: 200 }]);
        expect((heads[0] as { headers: HeaderList }).headers).toContainEqual(['x-kind', 'a']);
        expect((await ask()).isOk()).toBe(true);
        expect(connections()).toBe(1);
      });

      it('reaches the consumer before the answer has ended', async () => {
        const [seen, end] = [deferred(), deferred()];
        async function* stream() {
          await end.promise;
          yield bytes('last');
        }
        const { ask } = await serveStream(stream);
        const answer = ask({
          onBody: () => async () => {
            seen.resolve();
            return ok(undefined);
          },
        });
        await seen.promise;
        end.resolve();
        expect((await answer).isOk()).toBe(true);
      });

      it('is collected within the limit where nobody wants to consume it', async () => {
        async function* stream() {
          yield bytes('tail');
        }
        const { ask } = await serveStream(stream);
        const asked = { onBody: () => undefined };
        expect(textOf([value(await ask(asked)).body])).toBe('head tail');
        const error = failure(await ask({ ...asked, maxAnswer: 8 }));
        expect(error.code).toBe('too_large');
      });

      it('comes one call at a time, and no further one after the exchange has ended', async () => {
        let calls = 0;
        let underWay = 0;
        let most = 0;
        const stop = new AbortController();
        async function* stream() {
          for (;;) yield bytes('x'.repeat(1000));
        }
        const { ask } = await serveStream(stream);
        const answer = await ask({
          signal: stop.signal,
          onBody: () => async () => {
            calls += 1;
            underWay += 1;
            most = Math.max(most, underWay);
            await new Promise((resolve) => setImmediate(resolve));
            underWay -= 1;
            if (calls === 5) stop.abort();
            return ok(undefined);
          },
        });
        expect(failure(answer).code).toBe('aborted');
        await new Promise((resolve) => setImmediate(resolve));
        expect([calls, most]).toEqual([5, 1]);
      });

      it('is asked for no faster than it is consumed', async () => {
        let given = 0;
        const [consumed, proceed] = [deferred(), deferred()];
        async function* stream() {
          for (; given < 400; given++) yield new Uint8Array(65_536);
        }
        const { ask } = await serveStream(stream);
        let total = 0;
        const answer = ask({
          onBody: () => async (part) => {
            total += part.length;
            consumed.resolve();
            await proceed.promise;
            return ok(undefined);
          },
        });
        await consumed.promise;
        // What the sockets of both sides hold, and no more: it stands still well before the end.
        let before = -1;
        while (given !== before) {
          before = given;
          for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
        }
        expect(given).toBeLessThan(400);
        proceed.resolve();
        expect((await answer).isOk()).toBe(true);
        expect(total).toBe(400 * 65_536 + 5);
      });

      it('ends the exchange with the very error of its consumer', async () => {
        let ended = false;
        async function* stream() {
          try {
            for (;;) yield bytes('more');
          } finally {
            ended = true;
          }
        }
        const { ask, connections } = await serveStream(stream);
        const enough = errorOf('unverified', 'unverified result', { reason: 'no' });
        let calls = 0;
        const answer = await ask({
          onBody: () => async () => {
            calls += 1;
            return calls < 3 ? ok(undefined) : err(enough);
          },
        });
        expect(failure(answer)).toEqual({ ...enough, sent: true });
        expect(calls).toBe(3);
        await expect.poll(() => ended).toBe(true);
        await ask({ maxAnswer: 10 }, { key: 'another' });
        expect(connections()).toBe(2);
      });

      it('passes on what its consumer throws', async () => {
        async function* stream() {
          for (;;) yield bytes('more');
        }
        const { ask } = await serveStream(stream);
        const bug = new Error('a bug');
        for (const consume of [
          () => Promise.reject(bug),
          () => {
            throw bug;
          },
        ])
          await expect(Promise.resolve(ask({ onBody: () => consume }))).rejects.toBe(bug);
      });

      it('is given up without a byte for too long, but not while it is consumed', async () => {
        const never = deferred();
        const consumed = deferred();
        async function* stream() {
          await consumed.promise;
          yield bytes('on time');
          await never.promise;
        }
        const { ask } = await serveStream(stream);
        const parts: Uint8Array[] = [];
        const answer = await ask({
          answerTimeout: 100,
          onBody: () => async (part) => {
            parts.push(part);
            if (parts.length === 1) {
              await new Promise((resolve) => setTimeout(resolve, 300));
              consumed.resolve();
            }
            return ok(undefined);
          },
        });
        expect(failure(answer)).toMatchObject({ code: 'timed_out', phase: 'answer', timeoutMs: 100 });
        expect(textOf(parts)).toBe('head on time');
        never.resolve();
      });

      it('that breaks off is an error, whatever came before', async () => {
        async function* stream() {
          yield bytes('some');
          throw new Error('it breaks');
        }
        const { ask } = await serveStream(stream);
        const parts: Uint8Array[] = [];
        const answer = await ask({
          onBody: () => async (part) => {
            parts.push(part);
            return ok(undefined);
          },
        });
        expect(failure(answer).code).toBe('connection_failed');
        expect('head some'.startsWith(textOf(parts))).toBe(true);
      });
    });
  });
}
