import { err, errAsync, ok, okAsync, ResultAsync } from 'neverthrow';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { failure as errorOf } from '../../src/domain/core/errors.js';
import { type HeaderList, jsonAnswer } from '../../src/domain/protocol/http-message.js';
import type { Certificate } from '../../src/domain/trust/certificate.js';
import type { IncomingRequest, ListenOptions } from '../../src/ports/listener.js';
import type { TransportError, TransportTarget } from '../../src/ports/transport.js';
import {
  certificateOf,
  deferred,
  echo,
  type Identities,
  jsonOf,
  listen,
  listenOptions,
  makeIdentities,
  type Network,
  requestOf,
  targetOf,
} from '../support/network/network.js';
import { selfSigned } from '../support/network/test-pki.js';
import { failure, value } from './result.js';

/** What holds for every transport; `open` gives a fresh network for each test. */
export function transportContract(name: string, open: () => Network): void {
  describe(`transport: ${name}`, () => {
    let identities: Identities;
    const closing: (() => Promise<void>)[] = [];

    beforeAll(async () => {
      identities = await makeIdentities();
    });
    afterEach(async () => {
      for (const close of closing.splice(0)) await close();
    });

    /** A listener that counts its connections and what it handles, and a transport to it. */
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
      const transport = network.transport();
      closing.push(
        () => transport.close(),
        () => listening.close(0),
      );
      const judged: Certificate[] = [];
      const judge: TransportTarget['judge'] = (peer) => {
        judged.push(peer);
        return okAsync(undefined);
      };
      const target = (more: Partial<TransportTarget> = {}) =>
        targetOf(identities, network.host, listening.port, { judge, ...more });
      const ask = (request: Parameters<typeof requestOf>[0] = {}, more: Partial<TransportTarget> = {}) =>
        transport.request(target(more), requestOf(request));
      return { network, listening, transport, target, ask, handled, judged, connections: () => accepted };
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

    const wrong = errorOf('wrong_identity', 'web-01 answered with another key', {
      expected: 'a',
      found: 'b',
    });

    it("judges the listener's certificate before anything is sent, and tells it with the answer", async () => {
      const order: string[] = [];
      const { ask } = await serve({
        handle(request) {
          order.push('handled');
          return echo(request);
        },
      });
      const answer = await ask(
        {},
        {
          judge: (peer) =>
            new ResultAsync(
              new Promise((resolve) => setImmediate(resolve)).then(() => {
                order.push(`judged ${peer.serial}`);
                return okAsync(undefined);
              }),
            ),
        },
      );
      const agent = certificateOf(identities.agent);
      expect(value(answer).peer).toEqual(agent);
      expect(order).toEqual([`judged ${agent.serial}`, 'handled']);
    });

    it('ends with the very error of the judgement, nothing being sent', async () => {
      const { ask, handled } = await serve();
      const answer = await ask({}, { judge: () => errAsync(wrong) });
      expect(failure(answer)).toBe(wrong);
      expect(handled).toEqual([]);
    });

    it('keeps a connection for the same key, and judges its peer anew for every request', async () => {
      const { ask, judged, connections } = await serve();
      for (let count = 0; count < 3; count++) expect((await ask()).isOk()).toBe(true);
      expect(connections()).toBe(1);
      const agent = certificateOf(identities.agent);
      expect(judged.map(({ serial }) => serial)).toEqual([agent.serial, agent.serial, agent.serial]);
    });

    it('asks the judge of the request, not the one that the connection was made with', async () => {
      const { ask, judged } = await serve();
      const first: string[] = [];
      await ask(
        {},
        {
          judge: ({ serial }) => {
            first.push(serial);
            return okAsync(undefined);
          },
        },
      );
      expect((await ask()).isOk()).toBe(true);
      expect([first.length, judged.length]).toEqual([1, 1]);
    });

    it('closes a kept connection whose peer is refused meanwhile, nothing being sent', async () => {
      const { ask, handled, connections } = await serve();
      expect((await ask()).isOk()).toBe(true);
      const denied = errorOf('denied', 'not allowed', { who: 'hook', reason: 'denied', hookCode: 1 });
      const refused = await ask({}, { judge: () => errAsync(denied) });
      expect(failure(refused)).toBe(denied);
      expect([handled.length, connections()]).toEqual([1, 1]);
      expect((await ask()).isOk()).toBe(true);
      expect([handled.length, connections()]).toEqual([2, 2]);
    });

    it('tries a fresh connection, once, where the peer of a kept one has the wrong identity by now', async () => {
      const { ask, handled, connections } = await serve();
      expect((await ask()).isOk()).toBe(true);
      let asked = 0;
      const judge = () => {
        asked += 1;
        return errAsync(wrong);
      };
      expect(failure(await ask({}, { judge }))).toBe(wrong);
      expect([handled.length, connections(), asked]).toEqual([1, 2, 2]);
      expect((await ask()).isOk()).toBe(true);
      expect([handled.length, connections()]).toEqual([2, 3]);
    });

    it('finds the new key of a peer that the kept connection is too old to show, and sends the request once', async () => {
      const { ask, listening, handled, connections } = await serve();
      expect((await ask()).isOk()).toBe(true);
      const renewed = await identities.ca.issue({ usages: ['serverAuth'] });
      listening.renew(renewed);
      const { serial: next } = certificateOf(renewed);
      const judged: string[] = [];
      const judge: TransportTarget['judge'] = ({ serial }) => {
        judged.push(serial);
        return serial === next ? okAsync(undefined) : errAsync(wrong);
      };
      const signedFor: string[] = [];
      const sign = ({ serial }: Certificate) => {
        signedFor.push(serial);
        return [['x-signed', serial]] as const;
      };
      expect(value(await ask({ sign }, { judge })).peer.serial).toBe(next);
      expect(judged).toEqual([certificateOf(identities.agent).serial, next]);
      expect(signedFor).toEqual([next]);
      expect(value(await ask({ sign }, { judge })).peer.serial).toBe(next);
      expect([handled.length, connections()]).toEqual([3, 2]);
    });

    it('sends the headers that are made for the certificate of the connection, once that was judged', async () => {
      const { ask, handled } = await serve();
      const order: string[] = [];
      const sign = ({ serial, spki }: Certificate): HeaderList => {
        order.push(`signed for ${serial}`);
        return [
          ['x-signed', Buffer.from(spki).toString('base64')],
          ['x-count', String(order.length)],
        ];
      };
      const judge: TransportTarget['judge'] = ({ serial }) => {
        order.push(`judged ${serial}`);
        return okAsync(undefined);
      };
      for (let round = 0; round < 2; round++) value(await ask({ sign }, { judge }));
      const { serial, spki } = certificateOf(identities.agent);
      const [judged, signed] = [`judged ${serial}`, `signed for ${serial}`];
      expect(order).toEqual([judged, signed, judged, signed]);
      const added = handled.map(({ headers }) => headers.filter(([name]) => name.startsWith('x-')));
      const key = Buffer.from(spki).toString('base64');
      expect(added).toEqual([
        [
          ['x-signed', key],
          ['x-count', '2'],
        ],
        [
          ['x-signed', key],
          ['x-count', '4'],
        ],
      ]);
      for (const { headers } of handled) expect(headers).toContainEqual(['content-type', 'application/json']);
    });

    it('signs nothing for a peer that is refused', async () => {
      const { ask } = await serve();
      let signed = 0;
      const sign = () => {
        signed += 1;
        return [];
      };
      expect((await ask({ sign }, { judge: () => errAsync(wrong) })).isErr()).toBe(true);
      expect(signed).toBe(0);
    });

    it('takes an expired certificate where that is said, and no other that it would not take', async () => {
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
        const refused = await ask({}, { allowExpired: true, judge: () => errAsync(wrong) });
        expect(refused.isErr()).toBe(true);
      }
      expect(outcomes).toEqual({
        expired: 'answered',
        'expired, of another CA': 'tls_failed',
        'expired, for clients': 'tls_failed',
        'signed by itself': 'tls_failed',
        'as it should be': 'answered',
      });
    });

    it('makes and judges another connection for another key', async () => {
      const { ask, judged, connections } = await serve();
      await ask({}, { connectionKey: 'a' });
      await ask({}, { connectionKey: 'b' });
      expect([judged.length, connections()]).toEqual([2, 2]);
      const refused = await ask({}, { connectionKey: 'c', judge: () => errAsync(wrong) });
      expect(failure(refused)).toBe(wrong);
    });

    it('does not keep a connection whose judgement failed', async () => {
      const { ask, connections } = await serve();
      await ask({}, { judge: () => errAsync(wrong) });
      expect((await ask()).isOk()).toBe(true);
      expect(connections()).toBe(2);
    });

    it('connects anew after `forget`, of one key or of all', async () => {
      const { ask, connections, transport } = await serve();
      const askBoth = async () => {
        const before = connections();
        await ask({}, { connectionKey: 'a' });
        await ask({}, { connectionKey: 'b' });
        return connections() - before;
      };
      expect(await askBoth()).toBe(2);
      transport.forget('a');
      expect(await askBoth()).toBe(1);
      transport.forget();
      expect(await askBoth()).toBe(2);
      transport.forget('never seen');
      expect(await askBoth()).toBe(0);
    });

    it('finishes a request under way whose key is forgotten, and does not keep its connection', async () => {
      const { started, release, handle } = holding();
      const { ask, connections, transport } = await serve({ handle });
      const answer = ask();
      await started.promise;
      transport.forget();
      release.resolve();
      expect(jsonOf(value(await answer))).toEqual({ late: true });
      await ask();
      expect(connections()).toBe(2);
    });

    it('tells the certificate of the connection that the answer came on', async () => {
      const { ask, listening } = await serve();
      const renewed = await identities.ca.issue({ usages: ['serverAuth'] });
      await ask({}, { connectionKey: 'old' });
      listening.renew(renewed);
      await ask({}, { connectionKey: 'new' });
      for (const [connectionKey, credentials] of [
        ['old', identities.agent],
        ['new', renewed],
        ['old', identities.agent],
      ] as const) {
        const answer = await ask({}, { connectionKey });
        expect(value(answer).peer.serial).toBe(certificateOf(credentials).serial);
      }
    });

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

    it('presents other credentials as soon as the target has them', async () => {
      const { ask } = await serve();
      const credentials = await identities.ca.issue({ commonName: 'next', usages: ['clientAuth'] });
      expect(jsonOf(value(await ask()))['client']).toBe('dispatcher');
      expect(jsonOf(value(await ask({}, { credentials })))['client']).toBe('next');
    });

    it('trusts only the CAs of the target', async () => {
      const { ask, judged, handled } = await serve();
      const error = failure(await ask({}, { trust: [identities.otherCa.pem] }));
      expect(error.code).toBe('tls_failed');
      expect(error.message).not.toMatch(/\n/);
      expect((await ask({}, { trust: [identities.otherCa.pem, identities.ca.pem] })).isOk()).toBe(true);
      expect([judged.length, handled.length]).toEqual([1, 1]);
    });

    it("does not take a client's certificate for a server's", async () => {
      const { ask, handled } = await serve({ credentials: identities.dispatcher });
      expect(failure(await ask())).toMatchObject({
        code: 'tls_failed',
        reason: 'INVALID_PURPOSE',
      });
      expect(handled).toEqual([]);
    });

    it("leaves everything to the judgement where trust is 'any'", async () => {
      const credentials = await selfSigned('pairing');
      const { ask, judged, handled } = await serve({ credentials });
      expect(failure(await ask()).code).toBe('tls_failed');
      expect((await ask({}, { trust: 'any' })).isOk()).toBe(true);
      expect(judged.map(({ commonName }) => commonName)).toEqual(['pairing']);
      const refused = await ask({}, { trust: 'any', connectionKey: 'other', judge: () => errAsync(wrong) });
      expect(failure(refused)).toBe(wrong);
      expect(handled).toHaveLength(1);
    });

    it('says that nothing listens', async () => {
      const { ask, listening, network, transport, target } = await serve();
      await listening.close(0);
      expect(failure(await ask())).toMatchObject({
        code: 'connection_refused',
        host: network.host,
        port: listening.port,
      });
      const anywhere = { ...target(), host: 'nowhere.invalid', connectionKey: 'nowhere' };
      const error = failure(await transport.request(anywhere, requestOf()));
      expect(error).toMatchObject({ code: 'host_unresolved', host: 'nowhere.invalid' });
      expect(error.message).toContain('nowhere.invalid');
    });

    it('knows which names no host has', async () => {
      const { network, transport } = await serve();
      const unknown = (name: string) => transport.isUnknownHost(name);
      expect(await unknown('nowhere.invalid')).toBe(true);
      for (const name of [network.host, '192.0.2.1', '2001:db8::1']) expect(await unknown(name)).toBe(false);
    });

    it('gives up when the answer takes too long', async () => {
      const { release, handle } = holding();
      const { ask } = await serve({ handle });
      const error: TransportError = failure(await ask({ answerTimeout: 50 }));
      expect(error).toMatchObject({ code: 'timed_out', phase: 'answer', timeoutMs: 50 });
      release.resolve();
      expect((await ask()).isOk()).toBe(true);
    });

    it('accepts an answer of the largest size and none above', async () => {
      const { ask } = await serve({
        handle: async () => ({ status: 200, headers: [], body: new Uint8Array(100_000) }),
      });
      expect(value(await ask({ maxAnswer: 100_000 })).body).toHaveLength(100_000);
      expect(failure(await ask({ maxAnswer: 99_999 }))).toMatchObject({
        code: 'too_large',
        limit: 99_999,
      });
    });

    it('sends nothing when it is aborted beforehand', async () => {
      const { ask, handled, judged } = await serve();
      const answer = await ask({ signal: AbortSignal.abort() });
      expect(failure(answer).code).toBe('aborted');
      expect([handled, judged]).toEqual([[], []]);
    });

    it('stops waiting when it is aborted', async () => {
      const { started, release, handle } = holding();
      const { ask } = await serve({ handle });
      const abort = new AbortController();
      const answer = ask({ signal: abort.signal });
      await started.promise;
      abort.abort();
      expect(failure(await answer).code).toBe('aborted');
      release.resolve();
    });

    it('stops judging when it is aborted, nothing being sent', async () => {
      const { ask, handled } = await serve();
      const abort = new AbortController();
      const verdict = deferred();
      const answer = ask(
        { signal: abort.signal },
        {
          judge() {
            abort.abort();
            return ResultAsync.fromSafePromise(verdict.promise);
          },
        },
      );
      verdict.resolve();
      expect(failure(await answer).code).toBe('aborted');
      expect(handled).toEqual([]);
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

    it('does not send a request again when the connection breaks', async () => {
      const { started, handle } = holding();
      const { ask, listening, handled } = await serve({ handle });
      const answer = ask();
      await started.promise;
      await listening.close(0);
      expect(failure(await answer).code).toBe('connection_failed');
      expect(handled).toHaveLength(1);
    });

    it('connects anew where a kept connection was closed meanwhile, with headers made for the new one', async () => {
      const { ask, listening, network, handled } = await serve();
      await ask();
      await listening.close(0);
      const renewed = await identities.ca.issue({ usages: ['serverAuth'] });
      const arrived: IncomingRequest[] = [];
      const handle = (request: IncomingRequest) => {
        arrived.push(request);
        return echo(request);
      };
      const again = await listen(
        network.listener,
        listenOptions(identities, { port: listening.port, credentials: renewed, handle }),
      );
      closing.push(() => again.close(0));
      const { serial } = certificateOf(renewed);
      const sign = (peer: Certificate) => [['x-signed', peer.serial]] as const;
      expect(value(await ask({ sign })).peer.serial).toBe(serial);
      expect(handled).toHaveLength(1);
      expect(arrived.map(({ headers }) => headers.filter(([name]) => name === 'x-signed'))).toEqual([
        [['x-signed', serial]],
      ]);
    });

    it('ends requests under way as aborted when it closes, and makes no further ones', async () => {
      const { started, release, handle } = holding();
      const { ask, transport, handled } = await serve({ handle });
      const answer = ask();
      await started.promise;
      await transport.close();
      expect(failure(await answer).code).toBe('aborted');
      expect(failure(await ask()).code).toBe('aborted');
      expect(handled).toHaveLength(1);
      release.resolve();
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

      it('is told head and peer first, and gets every byte in order; the answer has none', async () => {
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
        const { status, body, peer } = value(answer);
        expect([status, body.length]).toEqual([200, 0]);
        expect(textOf(parts)).toBe(`head ${Array.from({ length: 50 }, (_, part) => `${part} `).join('')}`);
        expect(heads).toMatchObject([{ status: 200, peer: { serial: peer.serial } }]);
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

      it('comes one call at a time, and no further one after the request has ended', async () => {
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

      it('ends the request with the very error of its consumer', async () => {
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
        expect(failure(answer)).toBe(enough);
        expect(calls).toBe(3);
        await expect.poll(() => ended).toBe(true);
        await ask({ maxAnswer: 10 }, { connectionKey: 'another' });
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
