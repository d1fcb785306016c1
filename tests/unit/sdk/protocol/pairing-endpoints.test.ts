import { describe, expect, it } from 'vitest';
import { utf8 } from '../../../../src/domain/core/bytes.js';
import { confirm, pairingAnswers, start } from '../../../../src/sdk/protocol/pairing-endpoints.js';
import { readAnswer } from '../../../../src/sdk/protocol/reading.js';
import { failure, value } from '../../../contract/result.js';

const approved = { status: 'approved', name: 'web-01', cert_pem: 'PEM' };
const pending = { status: 'pending', retry_after: 2 };
const denied = { status: 'denied', reason: 'no' };

const answer = (endpoint: typeof confirm | typeof start, status: number, body: unknown) =>
  readAnswer(endpoint as typeof confirm, {} as never, { status, body: utf8(JSON.stringify(body)) });

describe('the answer to M5', () => {
  it('is what its status and its body say together', () => {
    expect(value(answer(confirm, 200, approved))).toEqual({ outcome: 'approved', ...approved });
    expect(value(answer(confirm, 202, pending))).toEqual({ outcome: 'pending', ...pending });
    expect(value(answer(confirm, 403, denied))).toEqual({ outcome: 'denied', ...denied });
    expect(value(answer(confirm, 410, { status: 'expired' }))).toEqual({ outcome: 'expired' });
  });

  it('is an error where the two do not belong together', () => {
    expect(answer(confirm, 200, pending).isErr()).toBe(true);
    expect(answer(confirm, 202, approved).isErr()).toBe(true);
    expect(answer(confirm, 403, approved).isErr()).toBe(true);
    expect(answer(confirm, 202, { ...pending, retry_after: 0 }).isErr()).toBe(true);
    expect(answer(confirm, 202, { ...pending, retry_after: 3600 }).isErr()).toBe(true);
    expect(failure(answer(confirm, 201, approved)).code).toBe('refused');
    expect(failure(answer(confirm, 500, approved)).code).toBe('refused');
  });
});

describe('the answer to M1', () => {
  it.each([
    [200, { status: 'error', reason: 'invalid request' }, 'version1', 'invalid request'],
    [404, { error: 'not found' }, 'absent', 'not found'],
    [404, [], 'absent', undefined],
    [408, '', 'slow', undefined],
  ])('of status %i and %j is %s', (status, body, outcome, reason) => {
    expect(value(answer(start, status, body))).toEqual({ outcome, ...(reason !== undefined && { reason }) });
  });

  it.each([
    { status: 'error', reason: 'x', error: 'invalid' },
    { status: 'error', error: 'invalid' },
    { status: 'error' },
    { status: 'denied', reason: 'no' },
    { v: 2, reason: 'x' },
  ])('is no error of version 1 where it is %j', (body) => {
    expect(answer(start, 200, body).isErr()).toBe(true);
  });
});

it('each error code has the status of wire-protocol 2.2', () => {
  const statuses = Object.entries(pairingAnswers).map(([outcome, { status }]) => [outcome, status]);
  expect(Object.fromEntries(statuses)).toMatchObject({
    invalid: 400,
    join_refused: 403,
    unknown_session: 404,
    name_registered: 409,
    expired: 410,
    too_large: 413,
    queue_full: 429,
  });
});
