import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { value } from '../../contract/result.js';
import { buildChild } from '../../unit/adapters/sql/sqlite/processes.js';
import { openStores, temporaryDirectory } from '../../unit/adapters/sql/sqlite/temporary-stores.js';

const start = buildChild();

describe('one file and several processes', () => {
  it('hammered by four at once, nothing is lost, decided twice, held twice or reported busy', async () => {
    const directory = temporaryDirectory();
    const rounds = 60;
    const stores = await openStores(directory);
    for (let round = 0; round < rounds; round++) {
      const request = {
        id: `request ${round}`,
        state: 'open',
        host: 'h',
        ip: '192.0.2.1',
        port: 1,
        lookupBy: 'ip',
        code: '000000',
        version: 'v2',
        decision: undefined,
        createdAt: 0,
        expiresAt: 1,
      } as const;
      value(await stores.pairingQueue.add(request));
    }
    const children = ['a', 'b', 'c', 'd'].map((name) => start('hammer', directory, name, rounds));
    const reports = (await Promise.all(children.map((child) => child.next()))) as {
      decided: number;
      locked: number;
    }[];
    await Promise.all(children.map((child) => child.ended()));
    const sum = (field: 'decided' | 'locked') => reports.reduce((total, report) => total + report[field], 0);
    expect(sum('decided')).toBe(rounds);
    expect(sum('locked')).toBeGreaterThan(0);
    const names = value(await stores.registry.list()).map(({ name }) => name);
    const expected = ['a', 'b', 'c', 'd'].flatMap((child) =>
      Array.from({ length: rounds }, (_, round) => `${child}-${round}`),
    );
    expect(names).toEqual(expected.sort());
    expect(value(await stores.locks.list())).toEqual([]);
    expect(readdirSync(join(directory, 'locks'))).toEqual([]);
  });
});
