import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { type HttpAnswer, jsonAnswer } from '../../../../../src/domain/protocol/http-message.js';
import { discover } from '../../../../../src/sdk/dispatcher/fleet/discovery.js';
import { ping } from '../../../../../src/sdk/dispatcher/fleet/ping.js';
import { run } from '../../../../../src/sdk/dispatcher/runs/run.js';
import { value } from '../../../../contract/result.js';
import { type Seen, scriptedAgent } from '../../../../support/fleet/memory-agents.js';
import { identifiedFleet, type TestDispatcher } from '../../../../support/fleet/memory-fleet.js';

/** What one hostile agent answers next. */
let answer: (request: Seen) => HttpAnswer;
let control: TestDispatcher;

beforeEach(async () => {
  const made = await identifiedFleet();
  control = made.control;
  await scriptedAgent(made.fleet, control, 'web-01', (request) => answer(request));
});

const bytes = (text: string): HttpAnswer => ({
  status: 200,
  headers: [],
  body: new TextEncoder().encode(text),
});

const runResult = async () => {
  const { clock, runStore } = control.context;
  const { results } = value(await run(control.context, { hosts: ['web-01'], script: 'greet' }));
  // What became of a run that was answered so may not be known.
  value(await runStore.release('web-01', 'greet', clock.now()));
  return results[0];
};
const pingResult = async () => {
  const { results } = value(await ping(control.context, { hosts: ['web-01'] }));
  return results[0];
};
const discovered = async () => {
  const { hosts } = value(await discover(control.context, { hosts: ['web-01'] }));
  return hosts[0];
};

describe('an answer that is not understood is exit -1 and says why', () => {
  it.each<[string, (request: Seen) => HttpAnswer, RegExp]>([
    ['nothing', () => bytes(''), /not understood/],
    ['no JSON', () => bytes('<html>'), /not understood: not valid JSON/],
    ['bytes that are no UTF-8', () => ({ ...bytes(''), body: Uint8Array.of(0xff, 0x7b) }), /UTF-8/],
    ['a JSON list', () => bytes('[0]'), /not a JSON object/],
    ['a JSON text', () => bytes('"exit"'), /not a JSON object/],
    ['a name twice', () => bytes('{"exit":0,"exit":1}'), /twice/],
    ['deep nesting', () => bytes(`{"exit":0,"x":${'['.repeat(70)}${']'.repeat(70)}}`), /nested deeper/],
    ['__proto__', () => bytes('{"exit":0,"__proto__":{"stdout":"x"}}'), /__proto__/],
    ['no exit', ({ body }) => jsonAnswer(200, { reqid: body['reqid'] }), /"exit"/],
    ['exit 256', ({ body }) => jsonAnswer(200, { exit: 256, reqid: body['reqid'] }), /"exit"/],
    ['exit -2', ({ body }) => jsonAnswer(200, { exit: -2, reqid: body['reqid'] }), /"exit"/],
    ['exit 0.5', ({ body }) => jsonAnswer(200, { exit: 0.5, reqid: body['reqid'] }), /"exit"/],
    ['exit as text', ({ body }) => jsonAnswer(200, { exit: '0', reqid: body['reqid'] }), /"exit"/],
    ['exit true', ({ body }) => jsonAnswer(200, { exit: true, reqid: body['reqid'] }), /"exit"/],
    ['exit null', ({ body }) => jsonAnswer(200, { exit: null, reqid: body['reqid'] }), /"exit"/],
    ['exit 1e400', ({ body }) => bytes(`{"exit":1e400,"reqid":"${body['reqid']}"}`), /number is too large/],
    ['another reqid', () => jsonAnswer(200, { exit: 0, reqid: '0000000000000000' }), /another request/],
    ['an empty reqid', () => jsonAnswer(200, { exit: 0, reqid: '' }), /another request/],
    ['a reqid that is no text', () => jsonAnswer(200, { exit: 0, reqid: 5 }), /reqid|another request/],
    [
      'stdout that is no text',
      ({ body }) => jsonAnswer(200, { exit: 0, stdout: 5, reqid: body['reqid'] }),
      /stdout/,
    ],
    [
      'stderr that is no text',
      ({ body }) => jsonAnswer(200, { exit: 0, stderr: [], reqid: body['reqid'] }),
      /stderr/,
    ],
  ])('%s', async (_what, given, expected) => {
    answer = given;
    const result = await runResult();
    expect(result).toMatchObject({ host: 'web-01', exit: -1, stdout: '', stderr: '' });
    expect(result?.error).toMatch(expected);
  });
});

describe('what agents refuse is told with what to do about it', () => {
  it.each([
    [{ error: 'serial mismatch', status: 'forbidden' }, 'it does not trust this dispatcher certificate'],
    [{ error: 'forbidden' }, 'it does not trust this dispatcher certificate'],
    [{ error: 'certificate revoked' }, 'it holds the certificate of this dispatcher for revoked'],
  ])('%j', async (body, hint) => {
    answer = () => jsonAnswer(403, body);
    const expected = `refused by the agent: ${body.error} (${hint}`;
    expect((await runResult())?.error).toContain(expected);
    expect(await pingResult()).toMatchObject({ status: 'error', error: expect.stringContaining(expected) });
    expect(await discovered()).toMatchObject({ status: 'error', error: expect.stringContaining(expected) });
  });

  it.each([
    ['an answer without a body', { status: 404, headers: [], body: new Uint8Array() }, 'HTTP status 404'],
    ['an HTML page', { ...bytes('<h1>'), status: 502 }, 'HTTP status 502'],
    ['an error that is no text', jsonAnswer(500, { error: { a: 1 } }), 'HTTP status 500'],
    ['a redirect', { status: 302, headers: [['location', '/x']], body: new Uint8Array() }, 'HTTP status 302'],
    [
      'its own words',
      jsonAnswer(503, { error: 'busy: 64 runs are under way' }),
      'busy: 64 runs are under way',
    ],
    ['the name of something that every object has', jsonAnswer(403, { error: 'constructor' }), 'constructor'],
    ['the name of a prototype', jsonAnswer(403, { error: '__proto__' }), '__proto__'],
  ] as [string, HttpAnswer, string][])('%s is repeated as it is', async (_what, given, words) => {
    answer = () => given;
    expect((await runResult())?.error).toBe(`refused by the agent: ${words}`);
  });

  it('a run that the agent did not start has its reason', async () => {
    answer = ({ body }) =>
      jsonAnswer(200, { script: 'x', exit: -1, error: 'script not permitted', reqid: body['reqid'] });
    expect(await runResult()).toMatchObject({ exit: -1, error: 'script not permitted', stdout: '' });
  });

  it('a script that was killed has exit 126 and its signal', async () => {
    answer = ({ body }) =>
      jsonAnswer(200, {
        exit: 126,
        error: 'killed by SIGKILL',
        stdout: 'a',
        stderr: '',
        reqid: body['reqid'],
      });
    expect(await runResult()).toMatchObject({ exit: 126, error: 'killed by SIGKILL', stdout: 'a' });
  });
});

const hostile = '\u001b[2Jroot\r\nACTION=forged \u009b31m\u202etxt\u0000\u2028\u{e0041}';
const unsafe = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;
/** Every text of a value, names of members included. */
const texts = (value: unknown): string[] =>
  typeof value === 'string'
    ? [value]
    : typeof value === 'object' && value !== null
      ? Object.entries(value).flatMap(([name, member]) => [name, ...texts(member)])
      : [];

describe('hostile texts', () => {
  it('in an error do not reach a result or a terminal', async () => {
    for (const status of [200, 403, 500]) {
      answer = ({ body }) => jsonAnswer(status, { exit: -1, error: hostile, reqid: body['reqid'] });
      const result = await runResult();
      expect(result?.error).toContain('\\u001b');
      expect(texts(result).filter((text) => unsafe.test(text))).toEqual([]);
    }
  });

  it('of great length are cut', async () => {
    answer = ({ body }) => jsonAnswer(200, { exit: -1, error: 'x'.repeat(1e6), reqid: body['reqid'] });
    expect((await runResult())?.error?.length).toBeLessThanOrEqual(500);
    answer = () => jsonAnswer(403, { error: 'x'.repeat(1e6) });
    expect((await runResult())?.error?.length).toBeLessThanOrEqual(300);
  });

  it('in the answer to a ping do not reach a result', async () => {
    answer = () => jsonAnswer(200, { status: 'ok', host: hostile, version: hostile, expiry: hostile });
    const result = await pingResult();
    expect(result).toMatchObject({ status: 'ok', host: 'web-01' });
    expect(texts(result).filter((text) => unsafe.test(text))).toEqual([]);
  });

  it('in capabilities reach neither a result nor the registry, and bad script names are left out', async () => {
    answer = () =>
      jsonAnswer(200, {
        status: 'ok',
        host: hostile,
        version: hostile,
        tags: { [hostile]: hostile, number: 5, list: ['x'] },
        scripts: [
          { name: hostile, path: '/x', executable: true },
          { name: '', path: '/x' },
          { name: 'a/b', path: '/x' },
          { name: 'x'.repeat(256), path: '/x' },
          { name: 5 },
          null,
          'text',
          { name: 'good', path: hostile, executable: 'yes', profile: hostile, schema_version: hostile },
          { name: 'plain' },
        ],
      });
    const result = await discovered();
    expect(texts(result).filter((text) => unsafe.test(text))).toEqual([]);
    expect(result).toMatchObject({
      status: 'ok',
      host: 'web-01',
      scripts: [
        { name: 'good', executable: false },
        { name: 'plain', path: '', executable: false },
      ],
    });
    const record = value(await control.context.registry.find('web-01'));
    expect(Object.keys(record?.tags ?? {}).length).toBe(1);
    expect(texts(record?.tags).filter((text) => unsafe.test(text))).toEqual([]);
  });

  it('whatever they are, each call ends with a result for the host and its name', async () => {
    const json = fc.json({ maxDepth: 3 });
    const object = fc
      .record(
        {
          exit: fc.oneof(fc.integer({ min: -3, max: 300 }), fc.jsonValue()),
          status: fc.oneof(fc.constant('ok'), fc.jsonValue()),
          stdout: fc.oneof(fc.string(), fc.jsonValue()),
          error: fc.oneof(fc.string({ unit: 'binary' }), fc.jsonValue()),
          host: fc.oneof(fc.string({ unit: 'binary' }), fc.jsonValue()),
          version: fc.oneof(fc.string({ unit: 'binary' }), fc.jsonValue()),
          tags: fc.oneof(fc.dictionary(fc.string({ unit: 'binary' }), fc.string()), fc.jsonValue()),
          truncated: fc.jsonValue(),
          scripts: fc.oneof(
            fc.array(fc.record({ name: fc.string(), path: fc.string({ unit: 'binary' }) })),
            fc.jsonValue(),
          ),
        },
        { requiredKeys: [] },
      )
      .map((value) => JSON.stringify(value));
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(object, json, fc.string()),
        fc.constantFrom(200, 200, 200, 202, 403, 404, 500),
        async (text, status) => {
          answer = () => ({ ...bytes(text), status });
          const [ran, pinged, found] = [await runResult(), await pingResult(), await discovered()];
          for (const result of [ran, pinged, found]) expect(result?.host).toBe('web-01');
          expect(ran?.exit).toBeGreaterThanOrEqual(-1);
          expect(ran?.exit).toBeLessThanOrEqual(255);
          const { stdout: _out, stderr: _err, ...shown } = ran ?? {};
          expect(texts([shown, pinged]).filter((shownText) => unsafe.test(shownText))).toEqual([]);
        },
      ),
      { numRuns: 150 },
    );
  });
});
