import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nodeCrypto } from '../../../../src/adapters/node-crypto/crypto.js';
import { type LegacySession, legacyStep } from '../../../../src/domain/legacy/pairing-session.js';
import type { PairingInput } from '../../../../src/domain/pairing/effects.js';
import {
  decided,
  ended,
  issued,
  opened,
  type PairingRequest,
} from '../../../../src/domain/pairing/request.js';
import {
  type Answer,
  type PairingCrypto,
  type Session,
  sessionSteps,
} from '../../../../src/domain/pairing/session.js';
import {
  commitment,
  confirmMessage,
  installedMessage,
  joinAgentMessage,
} from '../../../../src/domain/pairing/transcript.js';
import type { Certificate } from '../../../../src/domain/trust/certificate.js';

const { sha256, hmacSha256, equal } = nodeCrypto();
const bytes = (fill: number, length = 32) => new Uint8Array(length).fill(fill);
const th = bytes(1);
const dispatcherNonce = bytes(2);
const nonces = [bytes(3), bytes(4)] as const;
const tokenKey = bytes(5);

/** A signature here is the message itself under the key: whoever has not got both cannot make it. */
const signed = (data: Uint8Array) => sha256(data);
const crypto: PairingCrypto = {
  sha256,
  hmacSha256,
  equal,
  verify: (_spki, data, signature) => equal(signature, signed(data)),
};
const step = sessionSteps(crypto);

const certificate = { serial: '1a', pem: 'PEM', der: bytes(9), commonName: 'web-01' } as Certificate;
const introduction = { cas: [], dispatchers: [] };
const approve = { verdict: 'approve', name: 'web-01', replace: false } as const;

const applicant = {
  id: '7f3a91c2'.repeat(4),
  host: 'web-01',
  ip: '192.0.2.1',
  port: 7443,
  lookupBy: 'hostname',
  spki: bytes(6),
  csrDer: bytes(7),
  expiresAt: 600_000,
} as const;

const started = (token = false): Session => ({
  ...applicant,
  version: 'v2',
  phase: 'started',
  deadline: 15_000,
  introduction,
  th,
  commit: commitment(sha256, th, dispatcherNonce),
  dispatcherNonce,
  ...(token && { token: { id: 'ab', name: 'web-01', key: tokenKey } }),
});

const begun = (token = false): PairingRequest => ({
  ...applicant,
  state: 'started',
  code: undefined,
  version: 'v2',
  decision: undefined,
  createdAt: 0,
  expiresAt: 15_000,
  place: { kind: token ? 'join' : 'compare', key: 'x', until: 15_000 },
});

const mac = hmacSha256(tokenKey, joinAgentMessage(th, started().commit, nonces[0]));

/** What the agent, the operator and time can do. */
type Move =
  | { readonly by: 'nonce'; readonly nonce: 0 | 1; readonly mac: boolean }
  | { readonly by: 'confirm'; readonly nonce: 0 | 1 | 'forged' }
  | { readonly by: 'installed'; readonly valid: boolean }
  | { readonly by: 'approve' | 'deny' | 'look' | 'close' }
  | { readonly by: 'wait'; readonly ms: number }
  | { readonly by: 'store fails' };

/** A session and its row, with a store that does what it should, or fails for one effect. */
function play(token: boolean, moves: readonly Move[]) {
  let session: Session | undefined = started(token);
  let row = begun(token);
  let now = 0;
  let failing = false;
  let personApproved = false;
  const proofs = { token: false, confirmed: false };
  const signatures: string[] = [];
  const noncesAnswered = new Set<string>();
  const violations: string[] = [];

  const carryOut = (effect: ReturnType<typeof step>['effects'][number]): PairingInput | undefined => {
    if (effect.do === 'end' && (row.state === 'started' || row.state === 'open'))
      row = ended(row, effect.state);
    if (!['open', 'sign', 'issue', 'activate'].includes(effect.do)) return undefined;
    if (failing) {
      failing = false;
      return { kind: 'failed', reason: 'disk full' };
    }
    switch (effect.do) {
      case 'open':
        if (row.state === 'started' && now < row.expiresAt)
          row = opened(
            row,
            effect.code,
            applicant.expiresAt,
            effect.joinAs === undefined ? undefined : approve,
          );
        else if (row.state !== 'open' || row.code !== effect.code)
          return { kind: 'refused', code: 'not_ready', reason: row.state };
        if (effect.joinAs !== undefined && !proofs.token)
          violations.push('approved by a token without a proof');
        return { kind: 'opened', nonce: effect.nonce };
      case 'sign':
        if (!proofs.confirmed) violations.push('signed without a valid M5');
        if (!personApproved && !token) violations.push('signed without an approval');
        signatures.push('signed');
        return { kind: 'signed', approval: effect.approval, certificate, introduction };
      case 'issue':
        if (row.state !== 'open' || row.decision?.verdict !== 'approve' || now >= row.expiresAt)
          return { kind: 'refused', code: 'not_ready', reason: row.state };
        row = issued(row);
        return { kind: 'issued', approval: effect.approval };
      default:
        if (row.state !== 'issued' && row.state !== 'active')
          violations.push('activated before it was issued');
        row = { ...row, state: 'active' };
        return { kind: 'activated' };
    }
  };

  const give = (first: PairingInput): readonly Answer[] => {
    const answers: Answer[] = [];
    for (let input: PairingInput | undefined = first; input && session; ) {
      const done = step(session, input, now);
      session = done.session;
      input = undefined;
      for (const effect of done.effects) {
        if (effect.do === 'answer') answers.push(effect.answer);
        else input = carryOut(effect) ?? input;
      }
    }
    return answers;
  };

  for (const move of moves) {
    const before = session;
    let answers: readonly Answer[] | undefined;
    switch (move.by) {
      case 'wait':
        now += move.ms;
        break;
      case 'store fails':
        failing = true;
        break;
      case 'approve':
        if (row.state === 'open' && !row.decision && now < row.expiresAt) {
          row = decided(row, approve);
          personApproved = true;
        }
        break;
      case 'deny':
        if (row.state === 'open' && !row.decision && now < row.expiresAt)
          row = decided(row, { verdict: 'deny', reason: 'no' });
        break;
      case 'look':
        give({ kind: 'look', request: row });
        break;
      case 'close':
        give({ kind: 'close' });
        break;
      case 'nonce': {
        if (token && move.mac && move.nonce === 0) proofs.token = true;
        answers = give({ kind: 'nonce', nonce: nonces[move.nonce], mac: move.mac ? mac : undefined });
        break;
      }
      case 'confirm': {
        const data =
          move.nonce === 'forged' ? bytes(8) : confirmMessage(th, nonces[move.nonce], dispatcherNonce);
        if (move.nonce !== 'forged' && before?.agentNonce && equal(before.agentNonce, nonces[move.nonce]))
          proofs.confirmed = true;
        answers = give({ kind: 'confirm', sig: signed(data), request: row });
        break;
      }
      case 'installed': {
        const data = move.valid ? installedMessage(sha256, th, certificate.der) : bytes(8);
        answers = give({ kind: 'installed', sig: signed(data) });
        break;
      }
    }
    if (answers && before && answers.length !== 1) violations.push(`${answers.length} answers to ${move.by}`);
    for (const answer of answers ?? []) {
      if (answer.kind === 'nonce' && move.by === 'nonce') noncesAnswered.add(String(move.nonce));
      if (answer.kind === 'approved' && row.state !== 'issued' && row.state !== 'active')
        violations.push('handed out what is not recorded');
    }
    if (row.place.until > Math.max(row.expiresAt, 15_000)) violations.push('a place beyond its end');
    if (session && now >= session.deadline && move.by === 'look')
      violations.push('remembered beyond its end');
  }
  if (noncesAnswered.size > 1) violations.push('two nonces were answered');
  if (signatures.length > 1) violations.push('two certificates were signed');
  return { session, row, violations, now };
}

const move = fc.oneof<fc.Arbitrary<Move>[]>(
  fc.record({
    by: fc.constant('nonce' as const),
    nonce: fc.constantFrom(0 as const, 1 as const),
    mac: fc.boolean(),
  }),
  fc.record({
    by: fc.constant('confirm' as const),
    nonce: fc.constantFrom(0 as const, 1 as const, 'forged' as const),
  }),
  fc.record({ by: fc.constant('installed' as const), valid: fc.boolean() }),
  fc.record({ by: fc.constantFrom('approve' as const, 'deny' as const, 'look' as const, 'close' as const) }),
  fc.record({ by: fc.constant('wait' as const), ms: fc.constantFrom(1, 14_999, 15_000, 300_000, 600_000) }),
  fc.record({ by: fc.constant('store fails' as const) }),
);

const honest: readonly Move[] = [
  { by: 'nonce', nonce: 0, mac: false },
  { by: 'confirm', nonce: 0 },
  { by: 'approve' },
  { by: 'confirm', nonce: 0 },
  { by: 'installed', valid: true },
];

describe('a session of version 2', () => {
  it('pairs where both sides have said yes, in either order', () => {
    expect(play(false, honest)).toMatchObject({ row: { state: 'active' }, session: { phase: 'active' } });
    const [m3, m5, yes, again, m6] = honest as [Move, Move, Move, Move, Move];
    expect(play(false, [m3, yes, m5, again, m6]).row.state).toBe('active');
    const joining = [{ by: 'nonce', nonce: 0, mac: true } as const, m5, m6];
    expect(play(true, joining).row.state).toBe('active');
  });

  it('whatever comes in whatever order: no certificate without both, one nonce, one answer, no place too long', () => {
    fc.assert(
      fc.property(fc.boolean(), fc.array(move, { maxLength: 25 }), (token, moves) => {
        expect(play(token, moves).violations).toEqual([]);
      }),
      { numRuns: 3_000 },
    );
  });

  it('also around an honest pairing', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(5), move), { maxLength: 12 }), (inserted) => {
        const moves = [...honest];
        for (const [at, extra] of inserted) moves.splice(at, 0, extra);
        expect(play(false, moves).violations).toEqual([]);
      }),
      { numRuns: 2_000 },
    );
  });

  it('is data: a copy of it goes on in its place', () => {
    let session: Session | undefined = started();
    session = step(structuredClone(session), { kind: 'opened', nonce: nonces[0] }, 1).session;
    const confirm = { kind: 'confirm', sig: signed(confirmMessage(th, nonces[0], dispatcherNonce)) } as const;
    const row = decided(opened(begun(), '000042', 600_000), approve);
    const { effects } = step(structuredClone(session as Session), { ...confirm, request: row }, 2);
    expect(effects).toEqual([{ do: 'sign', approval: approve }]);
    expect(structuredClone(session)).toEqual(session);
  });

  it('keeps the certificate that it has signed where it could not be recorded, and hands out that one', () => {
    const [m3, , yes, m5] = honest as [Move, Move, Move, Move, Move];
    const signing: Session | undefined = play(false, [m3, yes, m5]).session;
    expect(signing).toMatchObject({ phase: 'issued', certificate: { serial: '1a' } });
    const open = { ...started(), phase: 'open', agentNonce: nonces[0], deadline: 600_000 } as const;
    const unrecorded = step(
      open,
      { kind: 'signed', approval: approve, certificate, introduction },
      1,
    ).session;
    const failed = step(unrecorded as Session, { kind: 'failed', reason: 'disk full' }, 1);
    expect(failed.effects).toMatchObject([{ do: 'answer', answer: { kind: 'failed' } }]);
    const request = decided(opened(begun(), '000042', 600_000), approve);
    const sig = signed(confirmMessage(th, nonces[0], dispatcherNonce));
    const again = step(failed.session as Session, { kind: 'confirm', sig, request }, 2);
    expect(again.effects).toEqual([{ do: 'issue', approval: approve, certificate, introduction }]);
  });

  it('has no use for what concerns version 1', () => {
    expect(step(started(), { kind: 'gone' }, 1)).toEqual({ session: started(), effects: [] });
  });
});

describe('a session of version 1', () => {
  const waiting: LegacySession = {
    ...applicant,
    version: 'v1',
    nonce: 'ab'.repeat(16),
    dispatcherId: 'control',
  };
  const row: PairingRequest = {
    ...begun(),
    version: 'v1',
    state: 'open',
    code: '000042',
    expiresAt: 600_000,
  };
  const inputs = fc.oneof(
    fc.constantFrom<PairingInput>(
      { kind: 'look', request: row },
      { kind: 'look', request: decided(row, approve) },
      { kind: 'look', request: decided(row, { verdict: 'deny', reason: 'no' }) },
      { kind: 'look', request: undefined },
      { kind: 'gone' },
      { kind: 'close' },
      { kind: 'signed', approval: approve, certificate, introduction },
      { kind: 'issued', approval: approve },
      { kind: 'refused', code: 'agent_exists', reason: 'taken' },
      { kind: 'failed', reason: 'disk full' },
      { kind: 'nonce', nonce: nonces[0] },
      { kind: 'installed', sig: nonces[0] },
    ),
  );

  it('is answered at most once, and is forgotten with its answer', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(inputs, fc.nat(400_000)), { maxLength: 12 }), (given) => {
        let session: LegacySession | undefined = waiting;
        let answers = 0;
        let now = 0;
        for (const [input, ms] of given) {
          if (!session) break;
          now += ms;
          const done = legacyStep(session, input, now);
          const later = done.effects.filter((effect) => effect.do === 'answer-later').length;
          expect(done.session === undefined).toBe(later === 1);
          answers += later;
          session = done.session;
        }
        expect(answers).toBeLessThanOrEqual(1);
      }),
    );
  });

  it('is certified upon an approval alone', () => {
    fc.assert(
      fc.property(inputs, fc.nat(700_000), (input, now) => {
        const signs = legacyStep(waiting, input, now).effects.some((effect) => effect.do === 'sign');
        const approved = input.kind === 'look' && input.request?.decision?.verdict === 'approve';
        expect(signs).toBe(approved && now < row.expiresAt);
      }),
    );
  });
});
