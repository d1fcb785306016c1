import { describe, expect, it } from 'vitest';
import type { PairingDecision, PairingRequest, PairingState } from '../../src/domain/pairing/request.js';
import type { PairingQueue } from '../../src/ports/pairing-queue.js';
import { failure, value } from './result.js';

const states: readonly PairingState[] = ['started', 'open', 'issued', 'active', 'denied', 'expired'];

const id = (digit: string): string => digit.repeat(32);

const request = (digit: string, change: Partial<PairingRequest> = {}): PairingRequest => ({
  id: id(digit),
  state: 'started',
  host: 'web1.example.org',
  ip: '2001:db8::7',
  port: 7443,
  lookupBy: 'ip',
  code: undefined,
  version: 'v2',
  decision: undefined,
  createdAt: 1000,
  expiresAt: 2000,
  ...change,
});

const open_ = { state: 'open', code: '042042' } as const;
const approve: PairingDecision = { verdict: 'approve', name: 'web-01', replace: false };
const deny: PairingDecision = { verdict: 'deny', reason: 'unknown machine' };

/** What holds for every `PairingQueue`. `open` gives an empty queue. */
export function pairingQueueContract(
  adapter: string,
  open: () => PairingQueue | Promise<PairingQueue>,
): void {
  describe(`pairing queue: ${adapter}`, () => {
    const withRequests = async (...requests: readonly PairingRequest[]): Promise<PairingQueue> => {
      const queue = await open();
      for (const entry of requests) value(await queue.add(entry));
      return queue;
    };
    const find = async (queue: PairingQueue, digit: string) => value(await queue.find(id(digit)));
    const listed = async (queue: PairingQueue, wanted: readonly PairingState[] = states) =>
      value(await queue.list(wanted)).map((entry) => entry.id[0]);

    it('a request comes back as it was added', async () => {
      const whole = request('b', { ...open_, decision: approve, version: 'v1', lookupBy: 'hostname' });
      const queue = await withRequests(request('a'), whole, request('c', { decision: deny }));
      expect(await find(queue, 'a')).toEqual(request('a'));
      expect(await find(queue, 'b')).toEqual(whole);
      expect((await find(queue, 'c'))?.decision).toEqual(deny);
      expect(await find(queue, 'd')).toBeUndefined();
    });

    it('an id is added once', async () => {
      const queue = await withRequests(request('a'));
      const error = failure(await queue.add(request('a', { host: 'other' })));
      expect(error.code).toBe('store_failed');
      expect((await find(queue, 'a'))?.host).toBe('web1.example.org');
    });

    it('lists hold the states that were asked for, by time of arrival, then id', async () => {
      const queue = await withRequests(
        request('c', { createdAt: 10 }),
        request('b', { createdAt: 9, state: 'denied' }),
        request('a', { createdAt: 10, ...open_ }),
        request('d', { createdAt: 2 }),
      );
      expect(await listed(queue)).toEqual(['d', 'b', 'a', 'c']);
      expect(await listed(queue, ['started'])).toEqual(['d', 'c']);
      expect(await listed(queue, ['open', 'denied'])).toEqual(['b', 'a']);
      expect(await listed(queue, ['expired'])).toEqual([]);
      expect(await listed(queue, [])).toEqual([]);
    });

    it('a request moves on, gets its code when it opens, and keeps it', async () => {
      const queue = await withRequests(request('a'), request('b'));
      const opened = value(await queue.advance(id('a'), 'open', { code: '000042' }));
      expect(opened).toEqual(request('a', { state: 'open', code: '000042' }));
      const issued = value(await queue.advance(id('a'), 'issued'));
      expect(issued).toEqual(request('a', { state: 'issued', code: '000042' }));
      expect(await find(queue, 'a')).toEqual(issued);
      expect(await find(queue, 'b')).toEqual(request('b'));
      const error = failure(await queue.advance(id('c'), 'open'));
      expect(error).toMatchObject({ code: 'pairing_unknown', id: id('c') });
    });

    it.each([
      approve,
      { ...approve, replace: true },
      { ...approve, port: 7000, lookupBy: 'hostname' } as const,
    ])('an approval is kept, and the request stays open: %j', async (decision) => {
      const queue = await withRequests(request('a', open_));
      const decided = value(await queue.decide(id('a'), decision, 1999));
      expect(decided).toEqual(request('a', { ...open_, decision }));
      expect(await find(queue, 'a')).toEqual(decided);
    });

    it('a denial is kept, and ends the request at once', async () => {
      const queue = await withRequests(request('a', open_));
      const decided = value(await queue.decide(id('a'), deny, 1999));
      expect(decided).toEqual(request('a', { ...open_, state: 'denied', decision: deny }));
      expect(await find(queue, 'a')).toEqual(decided);
      expect(await listed(queue, ['started', 'open'])).toEqual([]);
    });

    it('a decision is taken once', async () => {
      const queue = await withRequests(request('a', open_));
      const outcomes = await Promise.all([
        queue.decide(id('a'), approve, 1500),
        queue.decide(id('a'), deny, 1500),
        queue.decide(id('a'), approve, 1500),
      ]);
      const errors = outcomes.flatMap((outcome) => (outcome.isErr() ? [outcome.error] : []));
      expect(errors).toHaveLength(2);
      for (const error of errors) {
        expect(error).toMatchObject({ code: 'not_ready', id: id('a'), state: 'decided' });
      }
      const [winner] = outcomes.flatMap((outcome) => (outcome.isOk() ? [outcome.value] : []));
      expect(await find(queue, 'a')).toEqual(winner);
    });

    it.each(states.filter((state) => state !== 'open'))(
      'a request that is %s cannot be decided',
      async (state) => {
        const queue = await withRequests(request('a', { state }));
        const error = failure(await queue.decide(id('a'), approve, 1500));
        expect(error).toMatchObject({ code: 'not_ready', id: id('a'), state });
        expect((await find(queue, 'a'))?.decision).toBeUndefined();
      },
    );

    it('a request whose time has passed, or that is unknown, cannot be decided', async () => {
      const queue = await withRequests(request('a', open_));
      const late = failure(await queue.decide(id('a'), approve, 2000));
      expect(late).toMatchObject({ code: 'not_ready', state: 'expired' });
      const unknown = failure(await queue.decide(id('b'), approve, 0));
      expect(unknown).toMatchObject({ code: 'pairing_unknown', id: id('b') });
    });

    it('what waits expires, all of it or what is over, and what ended stays as it ended', async () => {
      const queue = await withRequests(
        request('a'),
        request('b', { ...open_, expiresAt: 2001 }),
        request('c', { state: 'denied' }),
        request('d', { state: 'issued' }),
        request('e', { state: 'active' }),
      );
      expect(value(await queue.expire(1999))).toBe(0);
      expect(value(await queue.expire(2000))).toBe(1);
      expect(await listed(queue, ['expired'])).toEqual(['a']);
      expect(value(await queue.expire())).toBe(1);
      expect(value(await queue.expire())).toBe(0);
      expect(await listed(queue, ['expired'])).toEqual(['a', 'b']);
      expect(await listed(queue, ['denied', 'issued', 'active'])).toEqual(['c', 'd', 'e']);
    });

    it('a purge removes old requests that ended, and no others', async () => {
      const ended = ['active', 'denied', 'expired'] as const;
      const queue = await withRequests(
        ...ended.map((state, index) => request(String(index), { state })),
        ...['started', 'open', 'issued'].map((state, index) =>
          request(String(index + 3), { state: state as PairingState }),
        ),
        request('9', { state: 'denied', createdAt: 1001 }),
      );
      expect(value(await queue.purge(1000))).toBe(0);
      expect(value(await queue.purge(1001))).toBe(3);
      expect(await listed(queue)).toEqual(['3', '4', '5', '9']);
    });

    it('what is handed in or out can be changed without changing what is kept', async () => {
      const entry = request('a', open_);
      const queue = await withRequests(entry);
      Object.assign(entry, { host: 'changed' });
      Object.assign((await find(queue, 'a')) ?? {}, { host: 'changed' });
      Object.assign(value(await queue.list(states))[0] ?? {}, { host: 'changed' });
      expect((await find(queue, 'a'))?.host).toBe('web1.example.org');
    });
  });
}
