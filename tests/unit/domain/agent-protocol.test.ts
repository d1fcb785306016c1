import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  maxAnswerBody,
  readCapabilities,
  readPingAnswer,
  readRunAnswer,
} from '../../../src/domain/agent-protocol.js';
import { utf8 } from '../../../src/domain/bytes.js';

const reqid = 'a3f9b2c100010002';
const json = (value: unknown) => utf8(JSON.stringify(value));
const run = (value: unknown, status = 200) => readRunAnswer(status, json(value), reqid);

describe('the answer to /run', () => {
  it('of a legacy agent is read as it is captured', () => {
    const body = { script: 'backup', exit: 0, stdout: '...', stderr: '', reqid };
    expect(run(body)._unsafeUnwrap()).toEqual({ exit: 0, stdout: '...', stderr: '' });
  });

  it.each([-1, 0, 1, 126, 255])('exit %i is one', (exit) => {
    expect(run({ exit, reqid })._unsafeUnwrap()).toEqual({ exit, stdout: '', stderr: '' });
  });

  it.each([-2, 256, 1.5, '0', null, true, [], {}])('exit %j is none', (exit) => {
    expect(run({ exit, reqid })._unsafeUnwrapErr()).toMatchObject({ code: 'protocol_violation' });
  });

  it('output is passed on as it is: control characters belong to it', () => {
    const stdout = '\u001b[31mred\u0000\r\n\u202e';
    expect(run({ exit: 0, stdout, stderr: stdout, reqid })._unsafeUnwrap()).toMatchObject({
      stdout,
      stderr: stdout,
    });
  });

  it('an error of the agent is shown without control characters', () => {
    const answer = run({ exit: -1, error: 'a\u001b[2J\nb', reqid })._unsafeUnwrap();
    expect(answer.error).toBe('a\\u001b[2J\\nb');
  });

  it.each([
    [{ stdout: 5 }, { stdout: 5 }],
    [
      { stdout: 5, stderr: 6, other: 7 },
      { stdout: 5, stderr: 6 },
    ],
    [{ stdout: -1, stderr: 1.5 }, {}],
    [{ stdout: '5' }, {}],
  ])('of truncated %j, %j is believed', (truncated, expected) => {
    expect(run({ exit: 0, truncated, reqid })._unsafeUnwrap().truncated).toEqual(expected);
  });

  it.each([5, 'x', null, true])('truncated %j is none', (truncated) => {
    expect(run({ exit: 0, truncated, reqid })._unsafeUnwrap()).not.toHaveProperty('truncated');
  });

  it('with any other status is a refusal, however friendly its body', () => {
    for (const status of [100, 201, 202, 204, 301, 403, 500])
      expect(run({ exit: 0, reqid }, status)._unsafeUnwrapErr()).toEqual({
        code: 'refused',
        status,
        reason: `HTTP status ${status}`,
        message: `refused by the agent: HTTP status ${status}`,
      });
  });

  it('of two full streams, every byte escaped, fits what is accepted', () => {
    const escaped = 16 * 1024 * 1024 * '\\u0000'.length;
    expect(maxAnswerBody).toBeGreaterThan(2 * escaped);
  });
});

describe('the answer to /ping', () => {
  const ping = (value: unknown, status = 200) => readPingAnswer(status, json(value));
  it('has host, version and expiry, empty where the agent says nothing', () => {
    const body = { status: 'ok', host: 'web-01', version: '0.9', expiry: 'Jun  7 16:28:00 2027 GMT' };
    expect(ping(body)._unsafeUnwrap()).toEqual({
      reportedHostname: 'web-01',
      version: '0.9',
      expiry: 'Jun  7 16:28:00 2027 GMT',
    });
    expect(ping({ status: 'ok', version: 5 })._unsafeUnwrap()).toEqual({
      reportedHostname: '',
      version: '',
      expiry: '',
    });
  });

  it.each([{}, { status: 'error' }, { status: true }, { status: ['ok'] }])('%j is not understood', (body) => {
    expect(ping(body)._unsafeUnwrapErr().code).toBe('protocol_violation');
  });
});

describe('capabilities', () => {
  const read = (value: unknown) => readCapabilities(200, json(value));

  it.each([{}, { scripts: {} }, { scripts: 'x' }, { scripts: null }])('%j are not understood', (body) => {
    expect(read(body)._unsafeUnwrapErr().code).toBe('protocol_violation');
  });

  it('tags that are no texts are left out, and no object of tags is none', () => {
    expect(read({ scripts: [], tags: { a: 'b', c: 1, d: null } })._unsafeUnwrap().tags).toEqual({ a: 'b' });
    for (const tags of [['a'], 'a', null, 5])
      expect(read({ scripts: [], tags })._unsafeUnwrap().tags).toEqual({});
  });

  it('members of every object are tags like others', () => {
    const { tags } = read({ scripts: [], tags: { constructor: 'x', toString: 'y' } })._unsafeUnwrap();
    expect(Object.entries(tags)).toEqual([
      ['constructor', 'x'],
      ['toString', 'y'],
    ]);
  });
});

it('whatever bytes come with whatever status, each is a value or one line of error', () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.uint8Array(), fc.json().map(utf8), fc.dictionary(fc.string(), fc.jsonValue()).map(json)),
      fc.constantFrom(200, 200, 403, 500),
      (bytes, status) => {
        for (const outcome of [
          readRunAnswer(status, bytes, reqid),
          readPingAnswer(status, bytes),
          readCapabilities(status, bytes),
        ])
          if (outcome.isErr()) {
            expect(outcome.error.message).not.toMatch(/[\p{Cc}\p{Cf}]/u);
            expect(outcome.error.message.length).toBeLessThan(500);
          }
      },
    ),
  );
});
