import { okAsync } from 'neverthrow';
import { describe, expect, it } from 'vitest';
import type { JoinTokenRecord } from '../../src/domain/pairing/join-token.js';
import type {
  PairingDecision,
  PairingPlace,
  PairingRequest,
  PairingState,
} from '../../src/domain/pairing/request.js';
import { newStanding } from '../../src/domain/trust/agent-standing.js';
import type { JoinTokens } from '../../src/ports/join-tokens.js';
import type { Pairing, PairingIssue } from '../../src/ports/pairing.js';
import type { Enrolment, Registry } from '../../src/ports/registry.js';
import type { Revocations } from '../../src/ports/revocations.js';
import type { RunStore } from '../../src/ports/run-store.js';
import { failure, value } from './result.js';

const id = (digit: string): string => digit.repeat(32);
const key = (digit: string): string => digit.repeat(64);
const csr = 'c5'.repeat(32);
const minute = 60_000;
const limits = { total: 100, perKey: 100 };

const place = (change: Partial<PairingPlace> = {}): PairingPlace => ({
  kind: 'compare',
  key: '2001:db8::/64',
  until: 2000,
  ...change,
});

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
  place: place(),
  ...change,
});

const open_ = { state: 'open', code: '042042' } as const;
const approve = { verdict: 'approve', name: 'web-01', replace: false } as const;
const deny = { verdict: 'deny', reason: 'unknown machine' } as const;

const token = (digit: string, change: Partial<JoinTokenRecord> = {}): JoinTokenRecord => ({
  id: digit.repeat(16),
  name: 'web-01',
  key: 'ab'.repeat(32),
  boundTo: undefined,
  createdAt: 0,
  expiresAt: 10_000,
  burntAt: undefined,
  ...change,
});

const enrolment = (digit: string, change: Partial<Enrolment> = {}): Enrolment => ({
  name: 'web-01',
  endpoint: { host: 'web1.example.org', ip: '2001:db8::7', port: 7443, lookupBy: 'ip' },
  pin: { spkiSha256: key(digit), state: 'issued', serial: `1${digit}`, notAfter: 9_000_000, issuedAt: 1500 },
  pairing: 'v2',
  replace: false,
  standing: newStanding(['d1']),
  at: 1500,
  ...change,
});

const issueOf = (digit: string, change: Partial<Enrolment> = {}): PairingIssue => ({
  id: id(digit),
  enrolment: enrolment(digit, change),
  csrSha256: csr,
});

/** Pairing, and what it writes to. Without `runStore` and `revocations`, what concerns these is not tested. */
export interface PairingSubject {
  readonly runStore?: RunStore;
  readonly revocations?: Revocations;
  readonly pairing: Pairing;
  readonly registry: Registry;
  readonly joinTokens: JoinTokens;
}

/** What holds for every `Pairing`. `open` gives an empty one, with the registry and the join tokens that it works on. */
export function pairingContract(adapter: string, open: () => PairingSubject | Promise<PairingSubject>): void {
  describe(`pairing: ${adapter}`, () => {
    const withRequests = async (...requests: readonly PairingRequest[]): Promise<PairingSubject> => {
      const subject = await open();
      for (const each of requests)
        expect(value(await subject.pairing.begin({ request: each, limits }))).toBe('admitted');
      return subject;
    };
    const find = async ({ pairing }: PairingSubject, digit: string) =>
      value(await pairing.find([id(digit)]))[0];
    const held = async ({ pairing }: PairingSubject, at = 1500) =>
      value(await pairing.held(at)).map((each) => each.id[0]);
    const decide = ({ pairing }: PairingSubject, digit: string, decision: PairingDecision, at = 1500) =>
      pairing.decide({ id: id(digit), decision, at });
    const opening = (digit: string, change: object = {}) => ({
      id: id(digit),
      code: '000042',
      expiresAt: 600_000,
      csrSha256: csr,
      at: 1500,
      ...change,
    });

    it('a request comes back as it was added', async () => {
      const whole = request('b', { ...open_, decision: approve, version: 'v1', lookupBy: 'hostname' });
      const wrong: PairingDecision = { verdict: 'deny', reason: 'the codes differ', wrongCode: true };
      const joining = place({ kind: 'join', key: 'ab', until: 7 });
      const added = [request('a'), whole, request('c', { decision: wrong, place: joining })];
      const subject = await withRequests(...added);
      expect(value(await subject.pairing.find([id('c'), id('a'), id('d'), id('b')]))).toEqual(added);
      expect(value(await subject.pairing.find([]))).toEqual([]);
    });

    it('an id is added once', async () => {
      const subject = await withRequests(request('a'));
      const error = failure(
        await subject.pairing.begin({ request: request('a', { host: 'other' }), limits }),
      );
      expect(error.code).toBe('store_failed');
      expect((await find(subject, 'a'))?.host).toBe('web1.example.org');
    });

    it('what is handed in or out can be changed without changing what is kept', async () => {
      const entry = request('a', open_);
      const subject = await withRequests(entry);
      Object.assign(entry, { host: 'changed' });
      Object.assign((await find(subject, 'a')) ?? {}, { host: 'changed' });
      Object.assign(value(await subject.pairing.held(0))[0] ?? {}, { host: 'changed' });
      expect((await find(subject, 'a'))?.host).toBe('web1.example.org');
    });

    describe('places', () => {
      const few = { total: 3, perKey: 2 };
      const beginAll = async (subject: PairingSubject, ...requests: readonly PairingRequest[]) => {
        const outcomes: string[] = [];
        for (const each of requests)
          outcomes.push(value(await subject.pairing.begin({ request: each, limits: few })));
        return outcomes;
      };

      it('are counted by key and in all, and what is refused is not added', async () => {
        const subject = await open();
        const other = { place: place({ key: 'other' }) };
        expect(
          await beginAll(
            subject,
            request('1'),
            request('2'),
            request('3'),
            request('4', other),
            request('5', other),
          ),
        ).toEqual(['admitted', 'admitted', 'key_full', 'admitted', 'full']);
        expect(await held(subject)).toEqual(['1', '2', '4']);
        expect(await find(subject, '3')).toBeUndefined();
      });

      it('of one kind are not those of the other', async () => {
        const subject = await open();
        const joining = { place: place({ kind: 'join' }) };
        await beginAll(subject, request('1'), request('2'), request('3', { place: place({ key: 'other' }) }));
        expect(await beginAll(subject, request('4', joining), request('5', joining))).toEqual([
          'admitted',
          'admitted',
        ]);
      });

      it('are free when their time is over', async () => {
        const subject = await open();
        await beginAll(subject, request('1'), request('2'));
        expect(
          await beginAll(subject, request('3', { createdAt: 1999 }), request('4', { createdAt: 2000 })),
        ).toEqual(['key_full', 'admitted']);
        expect(await held(subject, 1999)).toEqual(['1', '2', '4']);
        expect(await held(subject, 2000)).toEqual([]);
      });

      it('with a join token are given to the newest that has not proved it, at the cost of the oldest', async () => {
        const subject = await open();
        const joining = { place: place({ kind: 'join', key: 'token' }) };
        const proved = request('1', { ...joining, ...open_ });
        expect(
          await beginAll(
            subject,
            proved,
            request('2', joining),
            request('3', { ...joining, createdAt: 1001 }),
          ),
        ).toEqual(['admitted', 'admitted', 'admitted']);
        expect(await held(subject)).toEqual(['1', '3']);
        expect((await find(subject, '2'))?.state).toBe('expired');
        await beginAll(subject, request('4', { ...joining, ...open_, createdAt: 1002 }));
        expect(await beginAll(subject, request('5', { ...joining, createdAt: 1003 }))).toEqual(['key_full']);
      });

      it('of requests that come at the same moment are no more than there are', async () => {
        const subject = await open();
        const outcomes = await Promise.all(
          ['1', '2', '3', '4', '5'].map(async (digit) =>
            subject.pairing.begin({ request: request(digit), limits: few }),
          ),
        );
        expect(outcomes.filter((outcome) => value(outcome) === 'admitted')).toHaveLength(2);
      });
    });

    describe('opening', () => {
      it('gives a request its code and its time, once, and can be repeated', async () => {
        const subject = await withRequests(request('a'), request('b'));
        const opened = value(await subject.pairing.open(opening('a')));
        expect(opened).toEqual(
          request('a', {
            state: 'open',
            code: '000042',
            expiresAt: 600_000,
            place: place({ until: 600_000 }),
          }),
        );
        expect(value(await subject.pairing.open(opening('a')))).toEqual(opened);
        const another = failure(await subject.pairing.open(opening('a', { code: '000043' })));
        expect(another).toMatchObject({ code: 'not_ready', state: 'open' });
        expect(await find(subject, 'a')).toEqual(opened);
        expect(await find(subject, 'b')).toEqual(request('b'));
      });

      it('is refused to what has ended, or is not there', async () => {
        const subject = await withRequests(request('a', { state: 'denied' }), request('b'));
        expect(failure(await subject.pairing.open(opening('a')))).toMatchObject({ state: 'denied' });
        const late = failure(await subject.pairing.open(opening('b', { at: 2000 })));
        expect(late).toMatchObject({ code: 'not_ready', state: 'expired' });
        expect(failure(await subject.pairing.open(opening('c'))).code).toBe('pairing_unknown');
      });

      const joining = { place: place({ kind: 'join', key: token('a').id }) };

      it('with a join token binds it to the CSR and approves the request', async () => {
        const subject = await withRequests(request('a', joining));
        value(await subject.joinTokens.add(token('a')));
        const opened = value(await subject.pairing.open(opening('a', { joinAs: 'web-01' })));
        expect(opened).toMatchObject({ state: 'open', decision: { verdict: 'approve', name: 'web-01' } });
        expect(value(await subject.joinTokens.find(token('a').id))?.boundTo).toBe(csr);
        expect(value(await subject.pairing.open(opening('a', { joinAs: 'web-01' })))).toEqual(opened);
      });

      it.each<[string, Partial<JoinTokenRecord>]>([
        ['bound to another CSR', { boundTo: 'd6'.repeat(32) }],
        ['used', { boundTo: csr, burntAt: 1 }],
        ['taken back', { boundTo: 'taken back' }],
        ['expired', { expiresAt: 1500 }],
        ['of another host', { name: 'web-02' }],
      ])('with a join token that is %s is refused, and changes nothing', async (_what, change) => {
        const subject = await withRequests(request('a', joining));
        value(await subject.joinTokens.add(token('a', change)));
        const refused = failure(await subject.pairing.open(opening('a', { joinAs: 'web-01' })));
        expect(refused.code).toBe('pairing_denied');
        expect(await find(subject, 'a')).toEqual(request('a', joining));
        expect(value(await subject.joinTokens.find(token('a').id))).toEqual(token('a', change));
      });

      it('of two CSRs with the same join token succeeds for one', async () => {
        const subject = await withRequests(request('1', joining), request('2', joining));
        value(await subject.joinTokens.add(token('a')));
        const outcomes = await Promise.all(
          ['1', '2'].map(async (digit) =>
            subject.pairing.open(opening(digit, { joinAs: 'web-01', csrSha256: digit.repeat(64) })),
          ),
        );
        expect(outcomes.filter((outcome) => outcome.isOk())).toHaveLength(1);
      });
    });

    describe('a decision', () => {
      it.each([
        approve,
        { ...approve, replace: true },
        { ...approve, port: 7000, lookupBy: 'hostname' } as const,
      ])('to approve is kept, and the request stays open: %j', async (decision) => {
        const subject = await withRequests(request('a', open_));
        const decided = value(await decide(subject, 'a', decision, 1999));
        expect(decided).toEqual(request('a', { ...open_, decision }));
        expect(await find(subject, 'a')).toEqual(decided);
      });

      it.each([deny, { ...deny, wrongCode: true } as const])(
        'to deny is kept, ends the request at once and frees its place: %j',
        async (decision) => {
          const subject = await withRequests(request('a', open_));
          const decided = value(await decide(subject, 'a', decision, 1999));
          expect(decided).toEqual(
            request('a', { ...open_, state: 'denied', decision, place: place({ until: 0 }) }),
          );
          expect(await find(subject, 'a')).toEqual(decided);
          expect(await held(subject)).toEqual([]);
        },
      );

      it('is taken once', async () => {
        const subject = await withRequests(request('a', open_));
        const outcomes = await Promise.all([
          decide(subject, 'a', approve),
          decide(subject, 'a', deny),
          decide(subject, 'a', approve),
        ]);
        const errors = outcomes.flatMap((outcome) => (outcome.isErr() ? [outcome.error] : []));
        expect(errors).toHaveLength(2);
        for (const error of errors) expect(error).toMatchObject({ code: 'not_ready', state: 'decided' });
        const [winner] = outcomes.flatMap((outcome) => (outcome.isOk() ? [outcome.value] : []));
        expect(await find(subject, 'a')).toEqual(winner);
      });

      it.each<PairingState>(['started', 'issued', 'active', 'denied', 'expired'])(
        'on a request that is %s is refused',
        async (state) => {
          const subject = await withRequests(request('a', { state, place: place({ until: 0 }) }));
          for (const decision of [approve, deny])
            expect(failure(await decide(subject, 'a', decision))).toMatchObject({ code: 'not_ready', state });
          expect((await find(subject, 'a'))?.decision).toBeUndefined();
        },
      );

      it('on a request whose time has passed, or that is unknown, is refused', async () => {
        const subject = await withRequests(request('a', open_));
        const late = failure(await decide(subject, 'a', approve, 2000));
        expect(late).toMatchObject({ code: 'not_ready', state: 'expired' });
        expect(failure(await decide(subject, 'b', approve)).code).toBe('pairing_unknown');
      });
    });

    describe('the end', () => {
      it('is that of those that are named, or of all that wait, and what ended before stays as it ended', async () => {
        const subject = await withRequests(
          request('1'),
          request('2', open_),
          request('3', { state: 'denied' }),
          request('4', { state: 'issued' }),
          request('5', open_),
        );
        const { pairing } = subject;
        expect(value(await pairing.end({ ids: [id('2'), id('3'), id('9')], state: 'denied' }))).toBe(1);
        expect(value(await pairing.end({ ids: [], state: 'denied' }))).toBe(0);
        expect(value(await pairing.end({ state: 'expired' }))).toBe(2);
        expect(value(await pairing.end({ state: 'expired' }))).toBe(0);
        const states = await Promise.all(
          ['1', '2', '3', '4', '5'].map(async (digit) => (await find(subject, digit))?.state),
        );
        expect(states).toEqual(['expired', 'denied', 'denied', 'issued', 'expired']);
      });

      it('frees the place of what had no code yet; what had one keeps it until somebody denies it', async () => {
        const joined = { ...open_, place: place({ kind: 'join', key: 'token' }) };
        const subject = await withRequests(request('1'), request('2', open_), request('3', joined));
        value(await subject.pairing.end({ state: 'expired' }));
        expect(await held(subject)).toEqual(['2']);
        expect(failure(await decide(subject, '2', approve))).toMatchObject({ state: 'expired' });
        expect(value(await decide(subject, '2', deny))).toMatchObject({ state: 'denied', decision: deny });
        expect(await held(subject)).toEqual([]);
        expect((await decide(subject, '2', deny)).isErr()).toBe(true);
      });

      it('of those that were given up after their code was known is counted', async () => {
        const subject = await withRequests(
          request('1', open_),
          request('2', { ...open_, createdAt: 1400, expiresAt: 2400, place: place({ until: 2400 }) }),
          request('3'),
          request('4', open_),
          request('5', open_),
        );
        value(await decide(subject, '4', deny));
        expect(value(await subject.pairing.givenUp(0))).toBe(0);
        value(await subject.pairing.end({ ids: [id('1'), id('2'), id('3')], state: 'denied' }));
        expect(value(await subject.pairing.givenUp(0))).toBe(2);
        expect(value(await subject.pairing.givenUp(1000))).toBe(1);
      });
    });

    describe('issuing', () => {
      const approved = (digit: string, change: Partial<PairingRequest> = {}) =>
        request(digit, { ...open_, decision: approve, ...change });

      it('writes the row and the state of the request, and can be repeated', async () => {
        const subject = await withRequests(approved('a'));
        const issued = value(await subject.pairing.issue(issueOf('a')));
        expect(issued).toEqual(approved('a', { state: 'issued', place: place({ until: 0 }) }));
        const record = value(await subject.registry.find('web-01'));
        expect(record).toMatchObject({ name: 'web-01', pins: [{ state: 'issued', serial: '1a' }] });
        expect(value(await subject.pairing.issue(issueOf('a')))).toEqual(issued);
        expect(value(await subject.registry.find('web-01'))).toEqual(record);
        expect(await held(subject)).toEqual([]);
        const second = issueOf('a', { pin: { ...enrolment('a').pin, serial: '2b' } });
        expect(failure(await subject.pairing.issue(second)).code).toBe('not_ready');
      });

      it.each<[string, Partial<PairingRequest>, string]>([
        ['not open yet', { state: 'started', code: undefined }, 'started'],
        ['not approved', { decision: undefined }, 'not approved'],
        ['approved as another', { decision: { ...approve, name: 'web-02' } }, 'not approved'],
        ['denied', { state: 'denied', decision: deny }, 'denied'],
        ['expired', { expiresAt: 1500 }, 'expired'],
      ])('is refused for a request that is %s, and writes nothing', async (_what, change, state) => {
        const subject = await withRequests(approved('a', change));
        const refused = failure(await subject.pairing.issue(issueOf('a')));
        expect(refused).toMatchObject({ code: 'not_ready', state });
        expect(value(await subject.registry.list())).toEqual([]);
        expect(await find(subject, 'a')).toEqual(approved('a', change));
      });

      it('is refused where the registry refuses, and the request stays as it was', async () => {
        const subject = await withRequests(approved('a'), request('b'));
        value(await subject.registry.enrol(enrolment('f')));
        expect(failure(await subject.pairing.issue(issueOf('a'))).code).toBe('agent_exists');
        expect((await find(subject, 'a'))?.state).toBe('open');
        expect(failure(await subject.pairing.issue(issueOf('9'))).code).toBe('pairing_unknown');
        expect(value(await subject.pairing.issue(issueOf('a', { replace: true }))).state).toBe('issued');
      });

      const joined = approved('a', { place: place({ kind: 'join', key: token('a').id }) });
      const withToken = async (change: Partial<JoinTokenRecord> = {}) => {
        const subject = await withRequests(joined);
        value(await subject.joinTokens.add(token('a', { boundTo: csr, ...change })));
        return subject;
      };

      it.each<[string, Partial<JoinTokenRecord>]>([
        ['expired', { expiresAt: 1500 }],
        ['used', { burntAt: 1400 }],
        ['taken back', { boundTo: 'taken back' }],
        ['bound to another CSR', { boundTo: 'd6'.repeat(32) }],
        ['unknown', { id: 'e'.repeat(16) }],
      ])('is refused where its join token is %s by now', async (_what, change) => {
        const subject = await withToken(change);
        expect(failure(await subject.pairing.issue(issueOf('a'))).code).toBe('pairing_denied');
        expect(value(await subject.registry.list())).toEqual([]);
      });

      it('with a join token begins a name anew that was never used, and not one that is active', async () => {
        const subject = await withToken();
        value(await subject.registry.enrol(enrolment('f')));
        value(await subject.registry.activate('web-01', key('f')));
        const before = value(await subject.registry.find('web-01'));
        const refused = failure(await subject.pairing.issue(issueOf('a')));
        expect(refused).toMatchObject({ code: 'agent_exists', name: 'web-01' });
        expect(value(await subject.registry.find('web-01'))).toEqual(before);

        const unused = await withToken();
        value(await unused.registry.enrol(enrolment('f')));
        value(await unused.pairing.issue(issueOf('a')));
        expect(value(await unused.registry.find('web-01'))?.pins).toMatchObject([{ serial: '1a' }]);
      });
    });

    describe('activating', () => {
      const activation = (digit: string) => ({ name: 'web-01', spkiSha256: key(digit), at: 1600 });
      const issuedTo = async (digit: string, change: Partial<PairingRequest> = {}) => {
        const subject = await withRequests(request(digit, { ...open_, decision: approve, ...change }));
        value(await subject.joinTokens.add(token('a', { boundTo: csr })));
        value(await subject.pairing.issue(issueOf(digit)));
        return subject;
      };
      const joining = { place: place({ kind: 'join', key: token('a').id }) };

      it('makes the pin active, burns the token and ends the request, and can be repeated', async () => {
        const subject = await issuedTo('a', joining);
        value(await subject.joinTokens.add(token('b')));
        const record = value(await subject.pairing.activate(activation('a')));
        expect(record.pins).toMatchObject([{ state: 'active', serial: '1a' }]);
        expect(value(await subject.registry.find('web-01'))).toEqual(record);
        expect((await find(subject, 'a'))?.state).toBe('active');
        const burnt = async (digit: string) => value(await subject.joinTokens.find(token(digit).id))?.burntAt;
        expect([await burnt('a'), await burnt('b')]).toEqual([1600, undefined]);
        expect(value(await subject.pairing.activate({ ...activation('a'), at: 1700 }))).toEqual(record);
        expect(await burnt('a')).toBe(1600);
      });

      it('is refused for a key that the name does not have', async () => {
        const subject = await issuedTo('a');
        expect(failure(await subject.pairing.activate(activation('b'))).code).toBe('agent_unknown');
        const nobody = { ...activation('a'), name: 'web-02' };
        expect(failure(await subject.pairing.activate(nobody)).code).toBe('agent_unknown');
        expect((await find(subject, 'a'))?.state).toBe('issued');
      });

      it('of a renewed key burns no token', async () => {
        const subject = await issuedTo('a');
        value(await subject.pairing.activate(activation('a')));
        value(await subject.joinTokens.add(token('b', { boundTo: csr })));
        const { state: _, ...renewed } = enrolment('e').pin;
        value(await subject.registry.renew('web-01', renewed));
        value(await subject.pairing.activate(activation('e')));
        expect(value(await subject.registry.find('web-01'))?.pins).toMatchObject([{ serial: '1e' }]);
        expect(value(await subject.joinTokens.find(token('b').id))?.burntAt).toBeUndefined();
      });

      it('of the key of a join token does not take the place of one that became active meanwhile', async () => {
        const adopted = async (change: Partial<PairingRequest>) => {
          const subject = await withRequests(request('a', { ...open_, decision: approve, ...change }));
          value(await subject.joinTokens.add(token('a', { boundTo: csr })));
          const { endpoint, standing, name } = enrolment('a');
          value(await subject.registry.adopt([{ name, endpoint, standing, tags: {}, pairedAt: 1 }]));
          value(await subject.pairing.issue(issueOf('a', { replace: true })));
          const { state: _, ...first } = enrolment('f').pin;
          value(await subject.registry.pin('web-01', first));
          return subject;
        };
        const stolen = await adopted(joining);
        const before = value(await stolen.registry.find('web-01'));
        expect(failure(await stolen.pairing.activate(activation('a'))).code).toBe('agent_exists');
        expect(value(await stolen.registry.find('web-01'))).toEqual(before);
        const byPerson = await adopted({});
        value(await byPerson.pairing.activate(activation('a')));
        expect(value(await byPerson.registry.find('web-01'))?.pins).toMatchObject([{ serial: '1a' }]);
      });
    });

    describe('observing an answer', () => {
      const answer = (digit: string, more: object = {}) => ({
        spkiSha256: key(digit),
        serial: `1${digit}`,
        at: 1600,
        ...more,
      });
      const registered =
        (change: Partial<PairingRequest> = {}) =>
        async () => {
          const subject = await withRequests(request('a', { ...open_, decision: approve, ...change }));
          value(await subject.joinTokens.add(token('a', { boundTo: csr })));
          value(await subject.pairing.issue(issueOf('a')));
          return subject;
        };
      const issuedOnly = registered();
      const joining = registered({ place: place({ kind: 'join', key: token('a').id }) });
      const recordOf = async ({ registry }: PairingSubject) => value(await registry.find('web-01'));

      it('the first one makes the pin active, burns the token, ends the request and notes what it shows', async () => {
        const subject = await joining();
        const before = await recordOf(subject);
        const change = {
          speaks: 'signed',
          trusts: ['d2'],
          features: ['settle'],
          concurrency: { s: 2 },
        } as const;
        const observed = value(
          await subject.pairing.observed(answer('a', { change, tags: { env: 'prod' } })),
        );
        expect(observed.before).toEqual(before);
        expect(observed.record).toMatchObject({
          pins: [{ state: 'active', serial: '1a' }],
          tags: { env: 'prod' },
          standing: {
            serials: ['d1', 'd2'],
            speaks: 'signed',
            features: ['settle'],
            concurrency: { s: 2 },
            lastContact: 1600,
          },
        });
        expect(await recordOf(subject)).toEqual(observed.record);
        expect((await find(subject, 'a'))?.state).toBe('active');
        expect(value(await subject.joinTokens.find(token('a').id))?.burntAt).toBe(1600);
        const again = value(await subject.pairing.observed(answer('a', { change, tags: { env: 'prod' } })));
        expect(again).toEqual({ before: observed.record, record: observed.record });
      });

      it('what is not said stays as it was, and the last contact may lag by less than a minute', async () => {
        const subject = await issuedOnly();
        const change = { features: ['settle'], accepted: 'd1' };
        const { record } = value(await subject.pairing.observed(answer('a', { change, tags: { a: 'b' } })));
        const soon = value(await subject.pairing.observed(answer('a', { at: 1600 + 59_999 })));
        expect(soon.record).toEqual(record);
        const later = value(await subject.pairing.observed(answer('a', { at: 1600 + minute })));
        expect(later.before).toEqual(record);
        expect(later.record).toEqual({ ...record, standing: { ...record.standing, lastContact: 61_600 } });
      });

      it('of a key that nobody has shows nothing', async () => {
        const subject = await issuedOnly();
        const before = await recordOf(subject);
        expect(failure(await subject.pairing.observed(answer('b'))).code).toBe('agent_unknown');
        expect(await recordOf(subject)).toEqual(before);
      });

      it('over a renewed certificate of the same key, the serial tells which pin is meant', async () => {
        const subject = await issuedOnly();
        value(await subject.pairing.observed(answer('a')));
        const { state: _, ...renewed } = { ...enrolment('a').pin, serial: '2a' };
        value(await subject.registry.renew('web-01', renewed));
        expect(value(await subject.pairing.observed(answer('a'))).record.pins).toHaveLength(2);
        const { record } = value(await subject.pairing.observed(answer('a', { serial: '2a' })));
        expect(record.pins).toMatchObject([{ serial: '2a', state: 'active' }]);
        expect(await recordOf(subject)).toEqual(record);
      });

      it('without a signature counts only for an agent that has never signed', async () => {
        const subject = await issuedOnly();
        const unsigned = answer('a', { change: { speaks: 'unsigned', trusts: ['d2'] } });
        expect(value(await subject.pairing.observed(unsigned)).record.standing).toMatchObject({
          speaks: 'unsigned',
          serials: ['d1', 'd2'],
        });
        value(await subject.pairing.observed(answer('a', { change: { speaks: 'signed' } })));
        const before = await recordOf(subject);
        const late = answer('a', {
          at: 9_000_000,
          change: { speaks: 'unsigned', trusts: ['d3'] },
          tags: { x: 'y' },
        });
        const refused = failure(await subject.pairing.observed(late));
        expect(refused.code).toBe('unverified');
        expect(refused.message).toContain('web-01 has signed before');
        expect(await recordOf(subject)).toEqual(before);
      });

      it('notes nothing where its key cannot become active', async () => {
        const subject = await withRequests(
          request('a', { ...open_, decision: approve, place: place({ kind: 'join', key: token('a').id }) }),
        );
        value(await subject.joinTokens.add(token('a', { boundTo: csr })));
        const { endpoint, standing, name } = enrolment('a');
        value(await subject.registry.adopt([{ name, endpoint, standing, tags: {}, pairedAt: 1 }]));
        value(await subject.pairing.issue(issueOf('a', { replace: true })));
        const { state: _, ...first } = enrolment('f').pin;
        value(await subject.registry.pin('web-01', first));
        const before = await recordOf(subject);
        const change = { speaks: 'signed' } as const;
        expect(failure(await subject.pairing.observed(answer('a', { change }))).code).toBe('agent_exists');
        expect(await recordOf(subject)).toEqual(before);
      });

      it('several answers at once lose nothing of each other', async () => {
        const subject = await issuedOnly();
        const serials = ['d2', 'd3', 'd4', 'd5'];
        const all = await Promise.all(
          serials.map(async (serial) =>
            subject.pairing.observed(answer('a', { change: { trusts: [serial] } })),
          ),
        );
        for (const one of all) value(one);
        const known = (await recordOf(subject))?.standing.serials ?? [];
        expect([...known].sort()).toEqual(['d1', ...serials]);
      });
    });

    describe('units that reach further', () => {
      const withLock = async (subject: PairingSubject): Promise<void> => {
        value(await subject.registry.enrol(enrolment('a')));
        value(await subject.registry.activate('web-01', key('a')));
        const run = {
          reqid: 'r1',
          script: 's',
          args: [],
          username: 'u',
          principal: 'os:u',
          startedAt: 1,
          mode: 'sync' as const,
          sourceIp: '',
          hosts: [{ host: 'web-01' }, { host: 'web-02' }],
        };
        if (subject.runStore) value(await subject.runStore.begin(run, 1));
      };
      const locked = async ({ runStore }: PairingSubject) =>
        value(await (runStore?.locks(2) ?? okAsync([]))).map(({ host }) => host);

      it('who is unpaired is gone, with its locks, once', async () => {
        const subject = await open();
        if (!subject.runStore) return;
        await withLock(subject);
        const before = value(await subject.registry.find('web-01'));
        expect(await locked(subject)).toEqual(['web-01', 'web-02']);
        expect(value(await subject.pairing.unpair({ name: 'web-01', at: 2 }))).toEqual(before);
        expect(value(await subject.registry.find('web-01'))).toBeUndefined();
        expect(value(await subject.registry.formerNames())).toEqual(['web-01']);
        expect(await locked(subject)).toEqual(['web-02']);
        const again = failure(await subject.pairing.unpair({ name: 'web-01', at: 3 }));
        expect(again).toMatchObject({ code: 'agent_unknown', name: 'web-01' });
      });

      it('with an agent, whatever it has pinned is revoked, its locks go, and approvals for its name', async () => {
        const subject = await withRequests(
          request('b', { ...open_, decision: approve }),
          request('c', { ...open_, decision: { ...approve, name: 'web-02' } }),
          request('d', open_),
        );
        const { registry, revocations } = subject;
        if (!revocations || !subject.runStore) return;
        await withLock(subject);
        const { state: _, ...renewed } = enrolment('e').pin;
        value(await registry.renew('web-01', renewed));
        const entry = { serial: '0f', name: 'web-01', revokedAt: 1600 };
        const one = { entries: [entry], keys: [], agent: 'web-01', at: 1600 };
        expect(value(await revocations.revoke(one))).toEqual({ revision: 1, pins: [] });
        expect(await locked(subject)).toEqual(['web-01', 'web-02']);
        const all = { ...one, everyPin: true };
        const revoked = value(await revocations.revoke(all));
        expect(revoked.pins).toEqual(value(await registry.find('web-01'))?.pins);
        expect(revoked.revision).toBe(2);
        expect(value(await revocations.current()).entries.map(({ serial }) => serial)).toEqual([
          '0f',
          '1a',
          '1e',
        ]);
        const bans = value(await revocations.bannedKeys());
        expect(bans.map(({ spkiSha256 }) => spkiSha256)).toEqual([key('a'), key('e')]);
        expect(await locked(subject)).toEqual(['web-02']);
        expect(await find(subject, 'b')).toMatchObject({
          state: 'denied',
          decision: { verdict: 'deny', reason: 'web-01 was revoked meanwhile' },
        });
        expect((await find(subject, 'c'))?.state).toBe('open');
        expect((await find(subject, 'd'))?.state).toBe('open');
        expect(value(await revocations.revoke(all))).toEqual(revoked);
      });
    });

    it('a purge forgets what ended an hour ago and what was issued over a day ago, and nothing else', async () => {
      const now = 100_000 * minute;
      const ago = (minutes: number) => ({ createdAt: now - minutes * minute });
      const subject = await withRequests(
        ...(['active', 'denied', 'expired'] as const).map((state, index) =>
          request(String(index), { state, ...ago(61) }),
        ),
        request('3', { state: 'denied', ...ago(60) }),
        request('4', { state: 'issued', ...ago(61) }),
        request('5', { state: 'issued', ...ago(1501) }),
        request('6', { ...ago(2000) }),
        request('7', { ...open_, ...ago(2000) }),
      );
      expect(value(await subject.pairing.purge(now))).toBe(4);
      expect(value(await subject.pairing.purge(now))).toBe(0);
      const all = ['0', '1', '2', '3', '4', '5', '6', '7'].map(id);
      const left = value(await subject.pairing.find(all)).map((each) => each.id[0]);
      expect(left.sort()).toEqual(['3', '4', '6', '7']);
    });
  });
}
