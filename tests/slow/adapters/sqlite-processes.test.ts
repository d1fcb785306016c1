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
        place: { kind: 'compare', key: '192.0.2.1', until: 1 },
      } as const;
      value(await stores.pairing.begin({ request, limits: { total: rounds, perKey: rounds } }));
    }
    const children = ['a', 'b', 'c', 'd'].map((name) => start('hammer', directory, name, rounds));
    const reports = (await Promise.all(children.map((child) => child.next()))) as {
      decided: number;
      exclusive: number;
      begun: number;
    }[];
    await Promise.all(children.map((child) => child.ended()));
    const sum = (field: 'decided' | 'exclusive' | 'begun') =>
      reports.reduce((total, report) => total + report[field], 0);
    expect(sum('decided')).toBe(rounds);
    expect(sum('exclusive')).toBeGreaterThan(0);
    expect(sum('begun')).toBeGreaterThan(0);
    const names = value(await stores.registry.list()).map(({ name }) => name);
    const expected = ['a', 'b', 'c', 'd'].flatMap((child) =>
      Array.from({ length: rounds }, (_, round) => `${child}-${round}`),
    );
    expect(names).toEqual(expected.sort());
    const runs = value(await stores.runStore.list({ now: 3000, limit: 1000 }));
    expect(runs.map(({ outcome }) => outcome)).toEqual(Array(sum('begun')).fill('succeeded'));
    expect(value(await stores.runStore.locks(3000))).toEqual([]);
    expect(readdirSync(join(directory, 'locks'))).toEqual([]);
  });
});
