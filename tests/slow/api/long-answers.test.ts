import { type IncomingMessage, request } from 'node:http';
import { okAsync } from 'neverthrow';
import { describe, expect, it } from 'vitest';
import type { HostResult } from '../../../src/domain/runs/host-result.js';
import type { Dispatcher } from '../../../src/sdk/dispatcher/dispatcher.js';
import { apiOver } from '../../support/api/api.js';
import { memoryApi } from '../../support/api/memory-api.js';

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
  it('that is longer than any text of V8 is given whole', async () => {
    const { port, unexpected } = await longRuns(550, 1024 * 1024);
    const answer = await begun(port);
    let length = 0;
    let tail = '';
    for await (const part of answer as AsyncIterable<Buffer>) {
      length += part.length;
      tail = (tail + part.subarray(-40).toString()).slice(-40);
    }
    expect(answer.statusCode).toBe(200);
    expect(answer.complete).toBe(true);
    expect(length).toBeGreaterThan(0x1fffffe8);
    expect(tail).toMatch(/"rtt":"1ms","reqid":"r"\}\]\}$/);
    expect(unexpected).toEqual([]);
  });

  it('that is long keeps nobody else waiting', async () => {
    const { port } = await longRuns(1, 64 * 1024 * 1024, '\u0001');
    let turns = 0;
    const others = setInterval(() => {
      turns += 1;
    }, 1);
    const answer = await begun(port);
    answer.resume();
    await new Promise((resolve) => answer.once('end', resolve));
    clearInterval(others);
    // It is made in some four hundred pieces; in one piece, nobody else would have had a turn.
    expect(turns).toBeGreaterThan(20);
  });
});
