import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fileRunJournal } from '../../../../src/adapters/files/journal/run-journal.js';
import { processOutcome } from '../../../../src/adapters/memory/process-runner.js';
import { checkAnswer } from '../../../../src/sdk/protocol/message-signing.js';
import { value } from '../../../contract/result.js';
import { servingAgent } from '../../../support/fleet/memory-agents.js';
import { crypto } from '../../../support/fleet/memory-fleet.js';

const run = { path: '/run', body: { script: 'greet' } };
const named = { path: '/run', body: { script: 'greet', reqid: 'a3f9b2c100010002' } };

let home: string;
let boot: string;
let ran: number;
let stop: () => Promise<unknown>;

beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'defences-'));
  boot = 'one';
  ran = 0;
  stop = async () => undefined;
});
afterEach(async () => {
  await stop();
  rmSync(home, { recursive: true });
});

const at = () => ({ directory: join(home, 'runs'), former: join(home, 'replay'), bootId: () => boot });

/**
 * The agent whose state is in the home, started anew. Its key is a fresh one each time: what is sent again comes on a connection
 * that shows the one before, as if it had stayed, and the answer is not verified.
 */
async function started() {
  await stop();
  const now = Date.UTC(2026, 4, 6, 7, 8, 9, 500);
  const agent = await servingAgent({
    programs: {
      '/opt/greet': () => {
        ran += 1;
        return processOutcome(0, `run ${ran}`);
      },
    },
    ports: {
      journal: () => fileRunJournal({ ...at(), now: () => now }),
    },
  });
  stop = () => agent.serving.close(0);
  return agent;
}

/** Its record was begun when it was paired. */
async function paired() {
  const record = fileRunJournal(at());
  value(await record.begin());
  await record.close();
  return started();
}

describe('an agent that was restarted', () => {
  it('accepts no request that it had before', async () => {
    const before = await paired();
    const sent = await before.make(run);
    expect(await before.send(sent)).toMatchObject({ status: 200, json: { stdout: 'run 1' } });
    const after = await started();
    const again = await after.send(sent, { verify: false });
    expect({ status: again.status, error: again.json['error'], ran }).toEqual({
      status: 401,
      error: 'replayed',
      ran: 1,
    });
  });

  it('runs no request id again, and gives the answer of before', async () => {
    const first = await (await paired()).ask(named);
    const again = await (await started()).ask(named);
    expect({ json: again.json, ran }).toEqual({ json: first.json, ran: 1 });
  });

  it('on a host that was booted meanwhile refuses for half a minute what it may have had', async () => {
    const before = await paired();
    const sent = await before.make(run);
    await before.send(sent);
    await stop();
    stop = async () => undefined;
    // What was not on the disk when the power went.
    rmSync(join(home, 'runs'), { recursive: true });
    boot = 'two';
    const after = await started();
    const again = await after.send(sent, { verify: false });
    expect({ status: again.status, error: again.json['error'], ran }).toEqual({
      status: 401,
      error: 'replayed',
      ran: 1,
    });
    await after.clock.advance(31_000);
    expect((await after.ask(run)).status).toBe(200);
  });
});

it('a refusal that is not bound to its request is believed for as long as clocks may differ, and no longer', async () => {
  const agent = await paired();
  const sent = await agent.make(run);
  const stripped = sent.headers.filter(([name]) => name !== 'signature' && name !== 'signature-input');
  const { answer } = await agent.send({ ...sent, headers: stripped });
  expect(answer.status).toBe(401);
  const holds = (seconds: number) =>
    checkAnswer(crypto, answer, sent, {
      certificate: sent.peer.presented,
      now: agent.clock.now() + seconds * 1000,
    }).isOk();
  expect([-32, -29, 0, 29, 32].map(holds)).toEqual([false, true, true, true, false]);
});
