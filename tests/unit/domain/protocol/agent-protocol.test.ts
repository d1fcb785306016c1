import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { utf8 } from '../../../../src/domain/core/bytes.js';
import {
  maxCapabilitiesAnswer,
  maxPingAnswer,
  maxRunAnswer,
  readCapabilities,
  readPingAnswer,
  readRunAnswer,
} from '../../../../src/domain/protocol/agent-protocol.js';

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
    expect(maxRunAnswer).toBeGreaterThan(2 * escaped);
  });

  it.each(
    ['reqid', 'stdout', 'stderr', 'error'].flatMap((member) =>
      [5, null, true, [], {}].map((value) => [member, value] as const),
    ),
  )('with a %s that is %j is not understood', (member, value) => {
    const error = run({ exit: 0, [member]: value })._unsafeUnwrapErr();
    expect(error.code).toBe('protocol_violation');
    expect(error.message).toContain(`"${member}"`);
  });

  it('without reqid, stdout, stderr and error is one, with another reqid it is none', () => {
    expect(run({ exit: 0 })._unsafeUnwrap()).toEqual({ exit: 0, stdout: '', stderr: '' });
    expect(run({ exit: 0, reqid: `${reqid}0` })._unsafeUnwrapErr().code).toBe('protocol_violation');
  });
});

describe('the answer to /ping', () => {
  it('of a real agent fits what is accepted many times over', () => {
    const body = { status: 'ok', host: 'a'.repeat(255), version: '1.2.3', expiry: 'x'.repeat(24), reqid };
    expect(json(body).length * 100).toBeLessThan(maxPingAnswer);
  });

  const ping = (value: unknown, status = 200) => readPingAnswer(status, json(value));
  it('has host, version and expiry, empty where the agent says nothing', () => {
    const body = { status: 'ok', host: 'web-01', version: '0.9', expiry: 'Jun  7 16:28:00 2027 GMT' };
    expect(ping(body)._unsafeUnwrap()).toEqual({
      reportedHostname: 'web-01',
      version: '0.9',
      expiry: 'Jun  7 16:28:00 2027 GMT',
      staged: false,
    });
    expect(ping({ status: 'ok', version: 5 })._unsafeUnwrap()).toEqual({
      reportedHostname: '',
      version: '',
      expiry: '',
      staged: false,
    });
  });

  it.each([true, 1])('says with %j that a renewed certificate waits for a restart', (staged) => {
    expect(ping({ status: 'ok', staged })._unsafeUnwrap().staged).toBe(true);
  });

  it.each([{}, { status: 'error' }, { status: true }, { status: ['ok'] }])('%j is not understood', (body) => {
    expect(ping(body)._unsafeUnwrapErr().code).toBe('protocol_violation');
  });
});

describe('how an agent names itself', () => {
  const names = (host: unknown) => [
    readPingAnswer(200, json({ status: 'ok', host }))._unsafeUnwrap().reportedHostname,
    readCapabilities(200, json({ scripts: [], host }))._unsafeUnwrap().reportedHostname,
  ];

  it.each(['web-01', 'WEB-01.example.org', '192.0.2.7', 'a'.repeat(255)])('%s is a name', (host) => {
    expect(names(host)).toEqual([host, host]);
  });

  it.each([
    ...['', ' web-01', 'web-01\n', 'a..b', '-web', '.web', 'wéb', 'a b', '\u001b[2J', 'web-01 (control)'],
    ...['::1', '300.0.2.7', 'a'.repeat(256), 5, null, ['web-01'], undefined],
  ])('%j is none', (host) => {
    expect(names(host)).toEqual(['', '']);
  });
});

describe('capabilities', () => {
  const read = (value: unknown) => readCapabilities(200, json(value));

  it('are of at most 200 tags, the first ones that are texts', () => {
    const tags = Object.fromEntries(
      Array.from({ length: 300 }, (_, index) => [`t${index}`, index === 0 ? 0 : 'x']),
    );
    const kept = Object.keys(read({ scripts: [], tags })._unsafeUnwrap().tags);
    expect(kept).toEqual(Array.from({ length: 200 }, (_, index) => `t${index + 1}`));
  });

  it('are of at most 10,000 scripts, the first ones, and so many fit what is accepted', () => {
    const scripts = Array.from({ length: 10_001 }, (_, index) => ({
      name: `script-${index}`,
      path: `/opt/ctrl-exec/scripts/${'x'.repeat(200)}/${index}`,
      executable: true,
    }));
    const kept = read({ scripts })._unsafeUnwrap().scripts;
    expect(kept).toHaveLength(10_000);
    expect(kept.at(-1)?.name).toBe('script-9999');
    expect(json({ scripts }).length).toBeLessThan(maxCapabilitiesAnswer);
  });

  it('have long texts cut, so that what is kept of a tag is bounded', () => {
    const { tags, version } = read({
      scripts: [],
      version: 'v'.repeat(100_000),
      tags: { ['k'.repeat(1_000)]: 'v'.repeat(100_000) },
    })._unsafeUnwrap();
    const [[key, tag] = ['', '']] = Object.entries(tags);
    expect(key.length).toBeLessThanOrEqual(140);
    expect(tag.length).toBeLessThanOrEqual(1_040);
    expect(version.length).toBeLessThanOrEqual(1_040);
  });

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
