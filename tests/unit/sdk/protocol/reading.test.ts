import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { utf8 } from '../../../../src/domain/core/bytes.js';
import { agentFeatures } from '../../../../src/domain/protocol/agent-messages.js';
import {
  discovery,
  ping as pinging,
  run as running,
  settle as settling,
} from '../../../../src/sdk/protocol/endpoints.js';
import { readAnswer } from '../../../../src/sdk/protocol/reading.js';
import { failure, value } from '../../../contract/result.js';

const ask = { script: 'backup', args: [], username: '', token: '' };

const readRunAnswer = (status: number, body: Uint8Array, reqid: string) =>
  readAnswer(running, { ...ask, reqid }, { status, body }).map((answer) => {
    if (answer.outcome !== 'ended') throw new Error(`it is ${answer.outcome}`);
    return answer.result;
  });

const readPingAnswer = (status: number, body: Uint8Array) =>
  readAnswer(pinging, {}, { status, body }).map(({ outcome: _, ...pong }) => pong);

const readCapabilities = (status: number, body: Uint8Array) =>
  readAnswer(discovery, {}, { status, body }).map(({ outcome: _, ...capabilities }) => capabilities);

const readSettleAnswer = (status: number, body: Uint8Array, reqid: string) =>
  readAnswer(settling, { reqid }, { status, body }).map((answer) => {
    if (answer.outcome === 'void') return { status: 'void', completeSince: answer.completeSince };
    if (answer.outcome === 'unknown') return { status: 'unknown' };
    return { status: answer.status, ...(answer.result && { answer: answer.result }) };
  });

const reqid = 'a3f9b2c100010002';
const json = (value: unknown) => utf8(JSON.stringify(value));
const run = (value: unknown, status = 200) => readRunAnswer(status, json(value), reqid);

describe('the answer to /run', () => {
  it('of a legacy agent is read as it is captured', () => {
    const body = { script: 'backup', exit: 0, stdout: '...', stderr: '', reqid };
    expect(value(run(body))).toEqual({ exit: 0, stdout: '...', stderr: '' });
  });

  it.each([-1, 0, 1, 126, 255])('exit %i is one', (exit) => {
    expect(value(run({ exit, reqid }))).toEqual({ exit, stdout: '', stderr: '' });
  });

  it.each([-2, 256, 1.5, '0', null, true, [], {}])('exit %j is none', (exit) => {
    expect(failure(run({ exit, reqid }))).toMatchObject({ code: 'protocol_violation' });
  });

  it('output is passed on as it is: control characters belong to it', () => {
    const stdout = '\u001b[31mred\u0000\r\n\u202e';
    expect(value(run({ exit: 0, stdout, stderr: stdout, reqid }))).toMatchObject({
      stdout,
      stderr: stdout,
    });
  });

  it('an error of the agent is shown without control characters', () => {
    const answer = value(run({ exit: -1, error: 'a\u001b[2J\nb', reqid }));
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
    expect(value(run({ exit: 0, truncated, reqid })).truncated).toEqual(expected);
  });

  it.each([5, 'x', null, true])('truncated %j is none', (truncated) => {
    expect(value(run({ exit: 0, truncated, reqid }))).not.toHaveProperty('truncated');
  });

  it('with any other status is a refusal, however friendly its body', () => {
    for (const status of [100, 201, 204, 301, 403, 500])
      expect(failure(run({ exit: 0, reqid }, status))).toEqual({
        code: 'refused',
        status,
        reason: `HTTP status ${status}`,
        message: `refused by the agent: HTTP status ${status}`,
      });
  });

  it('of two full streams, every byte escaped, fits what is accepted', () => {
    const escaped = 16 * 1024 * 1024 * '\\u0000'.length;
    const base64 = Math.ceil((16 * 1024 * 1024) / 3) * 4;
    expect(running.maxAnswer).toBeGreaterThan(2 * (escaped + base64));
  });

  it('that is no UTF-8 has its bytes, and the text that they make, whatever else it says', () => {
    const bytes = Buffer.from([0x61, 0xff, 0x00]);
    const stdout_base64 = bytes.toString('base64');
    const read = value(run({ exit: 0, stdout: 'forged', stdout_base64, stderr: 'e', reqid }));
    expect(read).toEqual({ exit: 0, stdout: 'a\ufffd\0', stdoutBase64: stdout_base64, stderr: 'e' });
  });

  it.each(['x', 'YQ', 'YR==', 'Y Q=', '_w=='])('with the base64 %j is not understood', (text) => {
    for (const member of ['stdout_base64', 'stderr_base64'])
      expect(failure(run({ exit: 0, [member]: text, reqid })).code).toBe('protocol_violation');
  });

  it.each([{ pids: [] }, { pids: [2, 3] }, { count: 2, pids: [4, 5] }, { count: 120, pids: [6] }])(
    'says what was left behind: %j',
    (left_behind) => {
      expect(value(run({ exit: 0, left_behind, reqid }))).toMatchObject({ leftBehind: left_behind });
    },
  );

  it.each([
    ...[5, null, [], {}, { pids: 5 }, { pids: [0] }, { pids: [-1] }, { pids: [1.5] }, { pids: ['2'] }],
    ...[
      { count: 0, pids: [] },
      { count: 1, pids: [2, 3] },
      { count: '2', pids: [2] },
    ],
    { pids: Array.from({ length: 101 }, (_, index) => index + 2) },
  ])('left_behind %j is none', (left_behind) => {
    expect(value(run({ exit: 0, left_behind, reqid }))).not.toHaveProperty('leftBehind');
  });

  it.each(
    ['reqid', 'stdout', 'stderr', 'stdout_base64', 'stderr_base64', 'error'].flatMap((member) =>
      [5, null, true, [], {}].map((value) => [member, value] as const),
    ),
  )('with a %s that is %j is not understood', (member, value) => {
    const error = failure(run({ exit: 0, [member]: value }));
    expect(error.code).toBe('protocol_violation');
    expect(error.message).toContain(`"${member}"`);
  });

  it('without reqid, stdout, stderr and error is one, with another reqid it is none', () => {
    expect(value(run({ exit: 0 }))).toEqual({ exit: 0, stdout: '', stderr: '' });
    expect(failure(run({ exit: 0, reqid: `${reqid}0` })).code).toBe('protocol_violation');
  });
});

describe('the answer to /ping', () => {
  it('of a real agent fits what is accepted many times over', () => {
    const body = { status: 'ok', host: 'a'.repeat(255), version: '1.2.3', expiry: 'x'.repeat(24), reqid };
    expect(json(body).length * 100).toBeLessThan(pinging.maxAnswer);
  });

  const ping = (value: unknown, status = 200) => readPingAnswer(status, json(value));
  it('has host, version and expiry, empty where the agent says nothing', () => {
    const body = { status: 'ok', host: 'web-01', version: '0.9', expiry: 'Jun  7 16:28:00 2027 GMT' };
    expect(value(ping(body))).toEqual({
      reportedHostname: 'web-01',
      version: '0.9',
      expiry: 'Jun  7 16:28:00 2027 GMT',
      staged: false,
      features: [],
      problems: [],
    });
    expect(value(ping({ status: 'ok', version: 5 }))).toEqual({
      reportedHostname: '',
      version: '',
      expiry: '',
      staged: false,
      features: [],
      problems: [],
    });
  });

  it.each([true, 1])('says with %j that a renewed certificate waits for a restart', (staged) => {
    expect(value(ping({ status: 'ok', staged })).staged).toBe(true);
  });

  it('has the problems of the host as printable lines, and not without limit', () => {
    const problems = [5, 'line 1\u001B[2J', 'x'.repeat(1_000), ...Array.from({ length: 20 }, () => 'more')];
    const read = value(ping({ status: 'ok', problems })).problems;
    expect(read).toHaveLength(10);
    expect(read[0]).toBe('line 1\\u001b[2J');
    expect(read[1]).toHaveLength(200);
    for (const none of [undefined, 'x', {}, 5])
      expect(value(ping({ status: 'ok', problems: none })).problems).toEqual([]);
  });

  it.each([{}, { status: 'error' }, { status: true }, { status: ['ok'] }])('%j is not understood', (body) => {
    expect(failure(ping(body)).code).toBe('protocol_violation');
  });
});

describe('the answer to a settle', () => {
  const settle = (value: unknown, status = 200) => readSettleAnswer(status, json(value), reqid);

  it('is that of a record where the run is known', () => {
    expect(value(settle({ status: 'running', reqid }))).toEqual({ status: 'running' });
    for (const status of ['done', 'cancelled', 'lost'])
      expect(value(settle({ status, exit: 3, stdout: 'x', reqid }))).toMatchObject({
        status,
        answer: { exit: 3, stdout: 'x' },
      });
  });

  it('is read as the vectors say', () => {
    const vectors = JSON.parse(
      readFileSync(new URL('../../../vectors/settle.json', import.meta.url), 'utf8'),
    );
    const read = (name: string) => {
      const { status, body } = vectors[name];
      return value(readSettleAnswer(status, utf8(body), 'a3f9b2c100010002'));
    };
    expect(read('void')).toEqual({ status: 'void', completeSince: vectors.void.complete_since });
    expect(read('unknown')).toEqual({ status: 'unknown' });
    expect(read('running')).toEqual({ status: 'running' });
  });

  it('is void since a moment, or unknown', () => {
    expect(value(settle({ status: 'void', complete_since: 1_800_000_000_000, reqid }))).toEqual({
      status: 'void',
      completeSince: 1_800_000_000_000,
    });
    expect(value(settle({ status: 'unknown', reqid }))).toEqual({ status: 'unknown' });
  });

  it.each([
    ...[undefined, -1, 1.5, '5', null, 2 ** 53].map((since) => ({ status: 'void', complete_since: since })),
    { status: 'void', complete_since: 5, reqid: 'of another' },
    { status: 'unknown', reqid: 'of another' },
    { status: 'running', reqid: 'of another' },
    { status: 'accepted' },
    {},
  ])('%j is not understood', (body) => {
    expect(failure(settle(body)).code).toBe('protocol_violation');
  });

  it('of an agent that knows no settle, or refuses it, is a refusal', () => {
    for (const status of [401, 403, 404, 503])
      expect(failure(settle({ error: 'not found' }, status))).toMatchObject({ code: 'refused', status });
    expect(failure(settle({ status: 'unknown' }, 404)).code).toBe('refused');
  });
});

describe('features', () => {
  const read = (features: unknown) => [
    value(readPingAnswer(200, json({ status: 'ok', features }))).features,
    value(readCapabilities(200, json({ scripts: [], features }))).features,
  ];
  const both = (features: readonly string[]) => [features, features];

  it('are those of this agent', () => {
    expect(read(agentFeatures)).toEqual(both(agentFeatures));
  });

  it.each([undefined, null, 5, 'settle', { settle: true }])('are none with %j', (features) => {
    expect(read(features)).toEqual(both([]));
  });

  it('are the first 100 short words', () => {
    const words = Array.from({ length: 150 }, (_, index) => `w${index}`);
    expect(read(['', 'A', 'a b', 5, null, 'x'.repeat(65), '\u001b', ...words])).toEqual(
      both(words.slice(0, 100)),
    );
    expect(read(['x'.repeat(64), 'new-key'])).toEqual(both(['x'.repeat(64), 'new-key']));
  });
});

describe('how an agent names itself', () => {
  const names = (host: unknown) => [
    value(readPingAnswer(200, json({ status: 'ok', host }))).reportedHostname,
    value(readCapabilities(200, json({ scripts: [], host }))).reportedHostname,
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
    const kept = Object.keys(value(read({ scripts: [], tags })).tags);
    expect(kept).toEqual(Array.from({ length: 200 }, (_, index) => `t${index + 1}`));
  });

  it('are of at most 10,000 scripts, the first ones, and so many fit what is accepted', () => {
    const scripts = Array.from({ length: 10_001 }, (_, index) => ({
      name: `script-${index}`,
      path: `/opt/ctrl-exec/scripts/${'x'.repeat(200)}/${index}`,
      executable: true,
    }));
    const kept = value(read({ scripts })).scripts;
    expect(kept).toHaveLength(10_000);
    expect(kept.at(-1)?.name).toBe('script-9999');
    expect(json({ scripts }).length).toBeLessThan(discovery.maxAnswer);
  });

  it('have long texts cut, so that what is kept of a tag is bounded', () => {
    const { tags, version } = value(
      read({
        scripts: [],
        version: 'v'.repeat(100_000),
        tags: { ['k'.repeat(1_000)]: 'v'.repeat(100_000) },
      }),
    );
    const [[key, tag] = ['', '']] = Object.entries(tags);
    expect(key.length).toBeLessThanOrEqual(140);
    expect(tag.length).toBeLessThanOrEqual(1_040);
    expect(version.length).toBeLessThanOrEqual(1_040);
  });

  it.each([{}, { scripts: {} }, { scripts: 'x' }, { scripts: null }])('%j are not understood', (body) => {
    expect(failure(read(body)).code).toBe('protocol_violation');
  });

  it('tags that are no texts are left out, and no object of tags is none', () => {
    expect(value(read({ scripts: [], tags: { a: 'b', c: 1, d: null } })).tags).toEqual({ a: 'b' });
    for (const tags of [['a'], 'a', null, 5]) expect(value(read({ scripts: [], tags })).tags).toEqual({});
  });

  it('say how many runs of a script may go on, where that is more than one', () => {
    const given = [2, 1000, 1, 0, -2, 1001, 2.5, '2', null, undefined];
    const scripts = given.map((concurrency) => ({ name: 'x', concurrency }));
    const read_ = value(read({ scripts })).scripts.map(({ concurrency }) => concurrency);
    expect(read_).toEqual([2, 1000, ...given.slice(2).map(() => undefined)]);
  });

  it('members of every object are tags like others', () => {
    const { tags } = value(read({ scripts: [], tags: { constructor: 'x', toString: 'y' } }));
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
          readSettleAnswer(status, bytes, reqid),
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
