import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type HttpAnswer, jsonAnswer } from '../../src/domain/protocol/http-message.js';
import type { LegacyPairing, LegacyPairingRequest } from '../../src/ports/legacy-pairing.js';
import type { IncomingRequest, Listener, ListenerAnswer, ListenOptions } from '../../src/ports/listener.js';
import {
  certificateOf,
  deferred,
  type Identities,
  jsonOf,
  listen,
  listenOptions,
  makeIdentities,
} from '../support/network/network.js';
import { failure, value } from './result.js';

/** A listener and who asks it twice. */
interface LegacyNetwork {
  readonly host: string;
  readonly address: string;
  readonly listener: Listener;
  readonly legacyPairing: LegacyPairing;
}

/** Two answers on one connection: what holds for every listener and for whoever asks it. */
export function legacyPairingContract(name: string, open: () => LegacyNetwork): void {
  describe(`legacy pairing: ${name}`, () => {
    let identities: Identities;
    const closing: (() => Promise<void>)[] = [];

    beforeAll(async () => {
      identities = await makeIdentities();
    });
    afterEach(async () => {
      for (const close of closing.splice(0)) await close();
    });

    async function serve(
      handle: (request: IncomingRequest) => Promise<ListenerAnswer>,
      more: Partial<ListenOptions> = {},
    ) {
      const network = open();
      const failed: unknown[] = [];
      const { clientCas: _, ...options } = listenOptions(identities, {
        handle,
        failed: (error) => failed.push(error),
        ...more,
      });
      const listening = await listen(network.listener, options);
      closing.push(() => listening.close(0));
      const ask = (asked: Partial<LegacyPairingRequest> = {}) =>
        network.legacyPairing.request({
          host: network.host,
          port: listening.port,
          body: new TextEncoder().encode('{"hostname":"web-01"}'),
          connectTimeout: 5_000,
          answerTimeout: 5_000,
          ...asked,
        });
      return { network, listening, ask, failed };
    }

    /** Answers twice; the second answer is `decide`d by the test. */
    async function undecided() {
      const decision = deferred<HttpAnswer>();
      const gone = deferred();
      const called: boolean[] = [];
      const served = await serve(async () => ({
        ...jsonAnswer(200, { status: 'pending' }),
        next: (signal) => {
          called.push(signal.aborted);
          signal.addEventListener('abort', () => gone.resolve());
          if (signal.aborted) gone.resolve();
          return decision.promise;
        },
      }));
      return { ...served, decide: decision.resolve, gone: gone.promise, called };
    }

    it('sends a request of HTTP/1.0 and gives both answers, and who gave them', async () => {
      let seen: IncomingRequest | undefined;
      const { ask, network } = await serve(async (request) => {
        seen = request;
        const body = value(await request.body());
        return { status: 200, headers: [], body, next: async () => jsonAnswer(200, { last: true }) };
      });
      const exchange = value(await ask());
      expect(seen).toMatchObject({ method: 'POST', path: '/pair', query: '', httpVersion: '1.0' });
      expect(seen?.headers).toContainEqual(['content-type', 'application/json']);
      expect(seen?.peer).toMatchObject({ address: network.address, certificate: undefined });
      expect(jsonOf(exchange.first)).toEqual({ hostname: 'web-01' });
      expect(exchange.peer).toEqual(certificateOf(identities.agent));
      expect(jsonOf(value(await exchange.second(5_000)))).toEqual({ last: true });
    });

    it('waits for the second answer for as long as the handler does', async () => {
      const { ask, decide, called } = await undecided();
      const exchange = value(await ask());
      const second = exchange.second(20_000);
      decide(jsonAnswer(200, { status: 'approved' }));
      expect(jsonOf(value(await second))).toEqual({ status: 'approved' });
      expect(called).toEqual([false]);
    });

    it('has the second answer also where it came before anybody asked for it', async () => {
      const { ask, decide } = await undecided();
      decide(jsonAnswer(200, { status: 'approved' }));
      const exchange = value(await ask());
      expect(jsonOf(value(await exchange.second(5_000)))).toEqual({ status: 'approved' });
    });

    it('tells the handler when the peer hangs up', async () => {
      const { ask, gone, called } = await undecided();
      value(await ask()).close();
      await gone;
      expect(called).toHaveLength(1);
    });

    it('ends with the signal, before the first answer and after it', async () => {
      const stop = new AbortController();
      const { ask, gone } = await undecided();
      const exchange = value(await ask({ signal: stop.signal }));
      const second = exchange.second(20_000);
      stop.abort();
      expect(failure(await second).code).toBe('aborted');
      await gone;
      expect(failure(await ask({ signal: stop.signal })).code).toBe('aborted');
    });

    it('gives up after its time, and the handler learns it', async () => {
      const { ask, gone } = await undecided();
      const exchange = value(await ask());
      expect(failure(await exchange.second(20))).toMatchObject({
        code: 'timed_out',
        phase: 'pairing',
      });
      await gone;
    });

    it('gives up when there is no first answer', async () => {
      const { ask } = await serve(() => new Promise(() => undefined));
      expect(failure(await ask({ answerTimeout: 20 }))).toMatchObject({
        code: 'timed_out',
        phase: 'answer',
      });
    });

    it('fails where only one answer comes', async () => {
      const { ask } = await serve(async () => jsonAnswer(200, { status: 'error' }));
      const exchange = value(await ask());
      expect(jsonOf(exchange.first)).toEqual({ status: 'error' });
      expect(failure(await exchange.second(5_000)).code).toBe('connection_failed');
    });

    it('answers 500 where the handler throws after its first answer', async () => {
      const bug = new Error('a bug');
      const { ask, failed } = await serve(async () => ({
        ...jsonAnswer(200, {}),
        next: () => Promise.reject(bug),
      }));
      const second = await value(await ask()).second(5_000);
      expect(value(second).status).toBe(500);
      expect(failed).toEqual([bug]);
    });

    it('lets a decision under way arrive when the port closes, and hangs up after the grace', async () => {
      const decided = await undecided();
      const second = value(await decided.ask()).second(20_000);
      const closed = decided.listening.close(20_000);
      decided.decide(jsonAnswer(200, { late: true }));
      expect(jsonOf(value(await second))).toEqual({ late: true });
      await closed;

      const { ask, listening, gone } = await undecided();
      const never = value(await ask()).second(20_000);
      await listening.close(20);
      expect(failure(await never).code).toBe('connection_failed');
      await gone;
    });

    it('takes no answer above 64 KiB', async () => {
      const { ask } = await serve(async () => ({ status: 200, headers: [], body: new Uint8Array(65_537) }));
      expect(failure(await ask()).code).toBe('too_large');
    });

    it('says that nothing listens', async () => {
      const { ask, listening } = await serve(async () => jsonAnswer(200, {}));
      await listening.close(0);
      expect(failure(await ask()).code).toBe('connection_refused');
    });
  });
}
