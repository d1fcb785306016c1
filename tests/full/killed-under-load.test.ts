import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as passed } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { openDispatcher } from '../../src/apps/library/index.js';
import { value } from '../contract/result.js';
import { atEnd, dispatcherOnDisk, type Started, start } from '../support/commands/commands.js';

const rounds = Number(process.env['KILL_ROUNDS'] ?? 200);
const seed = Number(process.env['KILL_SEED'] ?? Date.now() % 2 ** 31);

/** Numbers from 0 to 1 (mulberry32): the same for the same seed. */
function numbers(from: number) {
  let state = from >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

it(`${rounds} times somebody is killed while jobs are submitted and run: none that was accepted is lost, none runs twice`, async () => {
  const random = numbers(seed);
  const control = await dispatcherOnDisk();
  const agent = await control.pairAgent('web-01', 'rate_limit_disable = yes\n');
  const ledger = join(agent.home, 'ledger');
  writeFileSync(ledger, '');
  // Eight names: of one name one job runs at a time.
  for (let name = 0; name < 8; name += 1)
    agent.script(
      `job${name}`,
      `#!/bin/sh\nread -r line\necho "$line" | sed 's/.*"reqid":"\\([0-9a-f]*\\)".*/\\1/' >> ${ledger}\nsleep 0.0${1 + name}\necho done\n`,
    );
  const library = await openDispatcher({ home: control.home });
  atEnd(() => library.close());
  let daemon: Started = await agent.serve();
  const accepted: string[] = [];
  const tally = {
    seed,
    rounds,
    submitted: 0,
    accepted: 0,
    refused: 0,
    unheard: 0,
    agentsKilled: 0,
    commandsKilled: 0,
  };

  const submit = async (name: number) => {
    tally.submitted += 1;
    const outcome = await library.submit({ hosts: ['web-01'], script: `job${name}` });
    const results = outcome.isOk() ? outcome.value.results : [];
    if (outcome.isOk() && results[0]?.status === 'accepted') {
      accepted.push(outcome.value.reqid);
      tally.accepted += 1;
    } else if (results[0]?.status === 'busy' || (outcome.isErr() && outcome.error.code === 'locked'))
      tally.refused += 1;
    else tally.unheard += 1;
  };

  for (let round = 0; round < rounds; round += 1) {
    const load = [0, 1, 2].map((step) => submit((round + step) % 8));
    if (round % 2 === 0) {
      await passed(random() * 120);
      daemon.child.kill('SIGKILL');
      await daemon.ended;
      tally.agentsKilled += 1;
      await Promise.all(load);
      daemon = await agent.serve();
    } else {
      const command = start('ctrl-exec', ['run', 'web-01', `job${(round + 3) % 8}`, '--async'], {
        home: control.home,
      });
      await passed(random() * 400);
      command.child.kill('SIGKILL');
      await command.ended;
      tally.commandsKilled += 1;
      await Promise.all(load);
    }
  }

  const ends: Record<string, number> = {};
  for (const reqid of accepted) {
    const waited = value(await library.wait(reqid, { timeout: 60 }));
    const [result] = waited.status.results;
    const end = `${result?.state} ${result?.exit}`;
    ends[end] = (ends[end] ?? 0) + 1;
  }
  const begun = readFileSync(ledger, 'utf8').split('\n').filter(Boolean);
  console.log(JSON.stringify({ ...tally, begun: begun.length, ends }));
  expect(new Set(begun).size).toBe(begun.length);
  expect(accepted.filter((reqid) => !begun.includes(reqid))).toEqual([]);
  expect(ends).toEqual({ 'succeeded 0': accepted.length });
  expect(accepted.length).toBeGreaterThan(rounds / 4);
  // The stores are whole, and what killed commands have left is in nobody's way.
  for (let name = 0; name < 8; name += 1)
    expect((await control.command('run', 'web-01', `job${name}`)).code).toBe(0);
  expect(JSON.parse((await control.command('list-locks', '--json')).stdout).locks).toEqual([]);
});
