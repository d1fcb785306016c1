import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import Libsql from 'libsql';
import { expect, it } from 'vitest';
import { dispatcherOnDisk } from '../commands.js';
import { leftovers } from '../kill/looks.js';
import { countingAgent, workAtPairing, workAtTheCommandLine, workByTheLibrary } from './workers.js';

const numberIn = (database: Libsql.Database, query: string): unknown =>
  Object.values(database.prepare(query).all([])[0] as object)[0];

/** The test: everything that uses one home at once, for so many seconds. */
export function testTogether(seconds: number): void {
  it(`two people, a script and agents that come and go share one home for ${seconds} s: nothing is lost and nobody waits in vain`, {
    timeout: 1000 * (seconds + 240),
  }, async () => {
    const control = await dispatcherOnDisk('pairing_rate_limit_volume = 1000/60/1\n');
    const names = ['alpha', 'beta', 'gamma'];
    const agents = [];
    for (const name of names) agents.push(await countingAgent(control, name));

    const work = await Promise.all([
      workAtTheCommandLine(control, 'alpha', names, seconds),
      workAtTheCommandLine(control, 'beta', names, seconds),
      workByTheLibrary(control, 'gamma', names, seconds),
      workAtPairing(control, seconds),
    ]);
    const workers = ['terminal 1', 'terminal 2', 'script', 'pairing'];
    console.log(work.map(({ counts }, index) => `${workers[index]}: ${JSON.stringify(counts)}`).join('\n'));
    expect(work.flatMap(({ problems }) => problems)).toEqual([]);
    expect(work.every(({ counts }) => Object.values(counts).every((count) => count > 0))).toBe(true);

    const asked = work.map(({ counts }) => counts['runs'] ?? 0);
    const ran = agents.map(({ record }) =>
      existsSync(record) ? readFileSync(record, 'utf8').split('\n').length - 1 : 0,
    );
    expect(ran).toEqual(asked.slice(0, names.length));

    expect(JSON.parse((await control.command('list-locks', '--json')).stdout)).toEqual({ ok: 1, locks: [] });
    const listed = JSON.parse((await control.command('list-agents', '--json')).stdout) as {
      agents: { name: string; hostname: string; tags: object }[];
    };
    expect(listed.agents.map(({ name, hostname, tags }) => ({ name, hostname, tags }))).toEqual(
      names.map((name, index) => ({
        name,
        hostname: `${name}-${work[index]?.counts['edits']}.example`,
        tags: { role: name },
      })),
    );
    expect(leftovers(control.home)).toEqual([]);

    const database = new Libsql(join(control.home, 'state/ctrl-exec.db'));
    expect(numberIn(database, 'PRAGMA integrity_check')).toBe('ok');
    expect(numberIn(database, 'SELECT count(*) FROM runs WHERE completed_at IS NOT NULL')).toBe(
      asked.reduce((all, count) => all + count, 0),
    );
    expect(numberIn(database, 'SELECT count(*) FROM runs WHERE completed_at IS NULL')).toBe(0);
    database.close();
  });
}
