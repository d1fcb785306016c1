import { type IncomingMessage, request } from 'node:http';
import { okAsync } from 'neverthrow';
import { describe, expect, it } from 'vitest';
import { jsonPieces } from '../../../../../src/apps/api/answers/json-text.js';
import type { HostResult } from '../../../../../src/domain/runs/host-result.js';
import type { Dispatcher } from '../../../../../src/sdk/dispatcher/dispatcher.js';
import { apiOver } from '../../../../support/api/api.js';
import { memoryApi } from '../../../../support/api/memory-api.js';
import { eventually } from '../../../../support/fleet/fleet.js';

const joined = (value: unknown) => [...jsonPieces(value)].join('');

describe('JSON in pieces', () => {
  it.each([
    [{}],
    [[]],
    [{ a: {}, b: [], c: [[]], d: [{}], e: { f: {} } }],
    [{ ok: true, n: null, t: 'ü\u2028"\ud800', u: undefined, list: [undefined, 1, { x: undefined }] }],
    [{ hosts: { 'web-01': { a: [1, 2] }, 'web-02': undefined, '': 0 } }],
    ['text'],
    [null],
    [undefined],
  ])('is what it is in one: %o', (value) => expect(joined(value)).toBe(JSON.stringify(value) ?? 'null'));

  it('is of some pieces where it is long, none of them empty', () => {
    const value = { list: Array.from({ length: 20 }, () => 'x'.repeat(1024 * 1024)) };
    const pieces = [...jsonPieces(value)];
    expect(pieces.length).toBeGreaterThan(4);
    expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThan(5 * 1024 * 1024);
    expect(pieces.every((piece) => piece !== '')).toBe(true);
    expect(pieces.join('')).toBe(JSON.stringify(value));
  });
});

it('a long text is of pieces as well, escaped, and no character is cut', () => {
  const value = { results: [{ stdout: `x${'😀\u0001'.repeat(1024 * 1024)}\ud800`, stderr: '' }] };
  const pieces = [...jsonPieces(value)];
  expect(Math.max(...pieces.map(({ length }) => length))).toBeLessThan(3 * 1024 * 1024);
  expect(pieces.join('') === JSON.stringify(value)).toBe(true);
  expect(pieces.every((piece) => Buffer.from(piece).toString() === piece)).toBe(true);
});

/** A dispatcher whose runs have results of so many hosts, each of so many characters. */
async function longRuns(hosts: number, characters: number, character = 'x') {
  const { dispatcher } = await memoryApi();
  const stdout = character.repeat(characters);
  const results = Array.from(
    { length: hosts },
    (_, index): HostResult => ({
      host: `web-${index}`,
      script: 'long',
      state: 'succeeded',
      exit: 0,
      stdout,
      stderr: '',
      rtt: 1,
      reqid: 'r',
    }),
  );
  const run: Dispatcher['run'] = () => okAsync({ reqid: 'r', script: 'long', results, warnings: [] });
  return apiOver(Object.assign(Object.create(dispatcher), { run }) as Dispatcher);
}

const body = JSON.stringify({ hosts: ['web-01'], script: 'long' });

/** Asks for a run, and gives the answer once it begins; nothing of it is read yet. */
const begun = (port: number) => {
  const asked = request({ host: '127.0.0.1', port, path: '/run', method: 'POST', agent: false });
  asked.end(body);
  return new Promise<IncomingMessage>((resolve, reject) => {
    asked.once('response', resolve);
    asked.once('error', reject);
  });
};

describe('an answer', () => {
  it('that is long and that nobody reads is not made', async () => {
    const { port, unexpected } = await longRuns(550, 1024 * 1024);
    const before = process.memoryUsage().rss;
    const answer = await begun(port);
    await eventually(() => expect(answer.readableLength).toBeGreaterThan(0));
    expect(process.memoryUsage().rss - before).toBeLessThan(256 * 1024 * 1024);
    answer.destroy();
    expect(unexpected).toEqual([]);
  });

  it('that is not long says its length', async () => {
    const { port } = await longRuns(2, 1024);
    const answer = await begun(port);
    expect(Number(answer.headers['content-length'])).toBeGreaterThan(2048);
    answer.resume();
  });
});
