import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import Libsql from 'libsql';
import { expect, it } from 'vitest';
import { dispatcherOnDisk } from '../commands/commands.js';
import { leftovers } from '../kill/looks.js';
import {
  busyLines,
  countingAgent,
  type Share,
  workAtPairing,
  workAtTheCommandLine,
  workByTheLibrary,
} from './workers.js';

const numberIn = (database: Libsql.Database, query: string): unknown =>
  Object.values(database.prepare(query).all([])[0] as object)[0];

const portOf = (round: number) => 2000 + round;
const addressOf = (round: number) => `198.51.100.${1 + (round % 250)}`;

/** What each of two people changes of the agent that all edit; the script changes its host name. */
const shares: readonly [Share, Share] = [
  { agent: 'shared', option: '--agent-port', field: 'port', value: portOf },
  { agent: 'shared', option: '--ip', field: 'ip', value: addressOf },
];

/** The test: everything that uses one home at once, for so many seconds. */
export function testTogether(seconds: number): void {
  it(`two people, a script and agents that come and go share one home for ${seconds} s: nothing is lost and nobody waits in vain`, {
    timeout: 1000 * (seconds + 240),
  }, async () => {
    const control = await dispatcherOnDisk('pairing_rate_limit_volume = 1000/60/1\n');
    const names = ['alpha', 'beta', 'gamma'];
    const agents = [];
    for (const name of names) agents.push(await countingAgent(control, name));
    await control.pairAgent('shared');

    const work = await Promise.all([
      workAtTheCommandLine(control, 'alpha', names, shares[0], seconds),
      workAtTheCommandLine(control, 'beta', names, shares[1], seconds),
      workByTheLibrary(control, 'gamma', names, 'shared', seconds),
      workAtPairing(control, seconds),
    ]);
    const workers = ['terminal 1', 'terminal 2', 'script', 'pairing'];
    const problems = work.flatMap((each) => each.problems);
    console.log(
      [
        ...work.map(({ counts }, index) => `${workers[index]}: ${JSON.stringify(counts)}`),
        `in ${seconds} s: ${problems.length} problems (updates lost, commands failed, the store in use)`,
      ].join('\n'),
    );
    expect(problems).toEqual([]);
    expect(work.every(({ counts }) => Object.values(counts).every((count) => count > 0))).toBe(true);

    const asked = work.map(({ counts }) => counts['runs'] ?? 0);
    const ran = agents.map(({ record }) =>
      existsSync(record) ? readFileSync(record, 'utf8').split('\n').length - 1 : 0,
    );
    expect(ran).toEqual(asked.slice(0, names.length));

    expect(JSON.parse((await control.command('list-locks', '--json')).stdout)).toEqual({ ok: 1, locks: [] });
    const listed = JSON.parse((await control.command('list-agents', '--json')).stdout) as {
      agents: { name: string; hostname: string; ip: string; port: number; tags: object }[];
    };
    const last = (index: number) => work[index]?.counts['edits'] ?? 0;
    expect(listed.agents).toMatchObject([
      ...names.map((name, index) => ({
        name,
        hostname: `${name}-${last(index)}.example`,
        tags: { role: name },
      })),
      {
        name: 'shared',
        port: portOf(last(0)),
        ip: addressOf(last(1)),
        hostname: `shared-${last(2)}.example`,
      },
    ]);
    expect(listed.agents).toHaveLength(names.length + 1);
    for (const { daemon } of agents) {
      const { stdout, stderr } = await daemon.stop();
      expect(busyLines(stdout + stderr)).toEqual([]);
    }
    expect(leftovers(control.home)).toEqual([]);

    const database = new Libsql(join(control.home, 'state/ctrl-exec.db'));
    expect(numberIn(database, 'PRAGMA integrity_check')).toBe('ok');
    expect(numberIn(database, 'SELECT count(*) FROM runs WHERE completed_at IS NOT NULL')).toBe(
      asked.reduce((all, count) => all + count, 0),
    );
    expect(numberIn(database, 'SELECT count(*) FROM runs WHERE completed_at IS NULL')).toBe(0);
    expect(
      numberIn(database, 'SELECT count(*) FROM run_hosts WHERE begun_at IS NOT NULL AND settled_at IS NULL'),
    ).toBe(0);
    const paired = "SELECT count(*) FROM pairing_requests WHERE state = 'active'";
    expect(numberIn(database, paired)).toBe(names.length + 1 + (work[3]?.counts['pairings'] ?? 0));
    expect(numberIn(database, 'SELECT count(*) FROM pairing_requests')).toBe(numberIn(database, paired));
    database.close();
  });
}
