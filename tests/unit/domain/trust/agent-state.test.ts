import { expect, it } from 'vitest';
import type { KeyPin } from '../../../../src/domain/trust/agent-record.js';
import { newStanding } from '../../../../src/domain/trust/agent-standing.js';
import { agentState, contactState } from '../../../../src/domain/trust/agent-state.js';

const pin = (serial: string, state: KeyPin['state'], notAfter = 100): KeyPin => ({
  ...{ spkiSha256: serial, serial, state, notAfter, issuedAt: 0 },
});
const nothing: ReadonlySet<string> = new Set();

it('an agent is revoked or expired when all of its certificates are, and unpinned when it has shown none', () => {
  const two = { pins: [pin('a', 'active'), pin('b', 'issued', 200)] };
  expect(agentState(two, nothing, 50)).toBe('active');
  expect(agentState(two, new Set(['a']), 50)).toBe('active');
  expect(agentState(two, new Set(['a', 'b']), 50)).toBe('revoked');
  expect(agentState(two, nothing, 150)).toBe('active');
  expect(agentState(two, nothing, 201)).toBe('expired');
  expect(agentState({ pins: [pin('b', 'issued')] }, nothing, 50)).toBe('issued');
  expect(agentState({ pins: [], adopted: true }, nothing, 50)).toBe('unpinned');
});

it('an agent that was not seen, or of which nobody knows what it trusts, is unknown', () => {
  const seen = { pins: [pin('a', 'active')], standing: newStanding(['1']) };
  expect(contactState(seen, 'pending', 50)).toBe('pending');
  expect(contactState(seen, undefined, 50)).toBe('unknown');
  expect(contactState(seen, 'current', 101)).toBe('expired');
  expect(contactState({ ...seen, standing: newStanding() }, 'stale', 50)).toBe('unknown');
  expect(contactState({ ...seen, pins: [pin('a', 'issued')] }, 'current', 50)).toBe('unknown');
});
