import Libsql from 'libsql';
import { describe, expect, it } from 'vitest';
import type { SqliteStores } from '../../../../../src/adapters/sql/sqlite/stores.js';
import type { AgentRecord } from '../../../../../src/domain/trust/agent-record.js';
import { newStanding } from '../../../../../src/domain/trust/agent-standing.js';
import { value } from '../../../../contract/result.js';
import { formerSchema } from './former-schema.js';
import { buildChild } from './processes.js';
import { openStores, storeOptions, temporaryDirectory } from './temporary-stores.js';

const start = buildChild();

const home = { host: 'web-01.example.org', ip: '192.0.2.1', port: 7443, lookupBy: 'hostname' } as const;
const moved = { host: 'new.example.org', ip: '2001:db8::1', port: 7444, lookupBy: 'ip' } as const;

/** What the former version wrote, and how it reads now. */
const agents: readonly AgentRecord[] = [
  {
    name: 'db-01',
    endpoint: home,
    pins: [{ spkiSha256: 'c'.repeat(64), state: 'issued', serial: '3d', notAfter: 30, issuedAt: 3 }],
    pairing: 'v2',
    pairedAt: 3,
    tags: {},
    standing: newStanding([], undefined, 'signed'),
  },
  {
    name: 'web-01',
    endpoint: home,
    pins: [
      { spkiSha256: 'a'.repeat(64), state: 'active', serial: '1f', notAfter: 10, issuedAt: 1 },
      {
        spkiSha256: 'b'.repeat(64),
        state: 'issued',
        serial: '2e',
        notAfter: 20,
        issuedAt: 2,
        endpoint: moved,
      },
    ],
    pairing: 'v1',
    pairedAt: 1,
    tags: { env: 'prod' },
    standing: newStanding(),
  },
];

const run = {
  reqid: 'r1',
  script: 'deploy',
  hosts: ['web-01'],
  args: undefined,
  mode: 'sync',
  username: 'root',
  sourceIp: '',
  startedAt: 1,
  completedAt: 2,
  results: [{ host: 'web-01', script: 'deploy', exit: 0, stdout: 'out', stderr: '', rtt: 5, reqid: 'r1' }],
  states: [],
};

const token = {
  id: 'f'.repeat(16),
  name: 'web-09',
  key: 'ab'.repeat(32),
  boundTo: 'cd'.repeat(32),
  createdAt: 1,
  expiresAt: 2,
  burntAt: undefined,
};

/** A directory with a file of the former version. */
const formerDirectory = (): string => {
  const directory = temporaryDirectory();
  const raw = new Libsql(storeOptions(directory).path);
  const insert = (table: string, ...values: readonly unknown[]) =>
    raw.prepare(`INSERT INTO ${table} VALUES (${values.map(() => '?').join()})`).run([...values]);
  raw.exec(`PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON; ${formerSchema}`);
  for (const { name, endpoint, pins, pairing, pairedAt, tags } of agents) {
    insert('agents', name, JSON.stringify(endpoint), pairing, pairedAt, JSON.stringify(tags));
    for (const pin of pins) {
      const brought = pin.endpoint === undefined ? null : JSON.stringify(pin.endpoint);
      const { state, spkiSha256, serial, notAfter, issuedAt } = pin;
      insert('pins', name, state, spkiSha256, serial, notAfter, issuedAt, brought, 'v2');
    }
  }
  const { reqid, script, hosts, username, startedAt, completedAt, results } = run;
  insert('runs', reqid, script, JSON.stringify(hosts), username, startedAt, completedAt);
  results.forEach((result, position) => {
    insert('run_results', reqid, position, JSON.stringify(result));
  });
  insert('join_tokens', token.id, token.name, token.key, token.boundTo, 1, 2, null);
  insert('pairing_requests', 'p1', 'open', 'h', '192.0.2.9', 7443, 'ip', '123456', 'v2', null, 1, 9);
  raw.close();
  return directory;
};

const expectWhole = async ({ registry, runStore, joinTokens, pairingQueue, revocations }: SqliteStores) => {
  expect(value(await registry.list())).toEqual(agents);
  expect(value(await runStore.find(run.reqid))).toEqual(run);
  const { args: _, states: __, results: ___, ...asked } = run;
  const summaries = value(await runStore.list({ limit: 9 }));
  expect(summaries).toEqual([{ ...asked, outcome: 'succeeded', failed: [] }]);
  expect(value(await joinTokens.find(token.id))).toEqual(token);
  expect(value(await pairingQueue.find('p1'))).toMatchObject({ code: '123456', state: 'open' });
  expect(value(await revocations.current())).toEqual({ revision: 0, entries: [] });
};

const numberOf = (directory: string, query: string): unknown => {
  const raw = new Libsql(storeOptions(directory).path);
  try {
    return Object.values((raw.prepare(query).get([]) as object | undefined) ?? {})[0];
  } finally {
    raw.close();
  }
};

describe('a file of the former version', () => {
  it('keeps everything that is in it, once and for good', async () => {
    const directory = formerDirectory();
    for (let opened = 0; opened < 2; opened++) {
      const stores = await openStores(directory);
      await expectWhole(stores);
      await stores.close();
    }
    const fresh = temporaryDirectory();
    await openStores(fresh);
    for (const query of ['PRAGMA user_version', 'SELECT group_concat(sql) FROM sqlite_schema'])
      expect(numberOf(directory, query)).toBe(numberOf(fresh, query));
    expect(numberOf(directory, 'PRAGMA foreign_key_check')).toBeUndefined();
  });

  it('takes up the pairing that was under way, and what the new version adds', async () => {
    const { registry, revocations } = await openStores(formerDirectory());
    value(await registry.note('web-01', { trusts: ['d1'] }));
    const renewed = { spkiSha256: 'd'.repeat(64), serial: '4c', notAfter: 40, issuedAt: 4 };
    expect(value(await registry.renew('web-01', renewed)).pins).toHaveLength(3);
    const active = value(await registry.activate('web-01', 'b'.repeat(64)));
    expect(active).toMatchObject({
      endpoint: moved,
      pins: [{ serial: '2e', state: 'active' }],
      pairing: 'v2',
      pairedAt: 2,
      standing: newStanding(['d1']),
    });
    value(await revocations.add([{ serial: '1f', name: 'web-01', revokedAt: 5 }]));
    expect(value(await revocations.revision())).toBe(1);
  });

  it('forgets the pins of an agent that is removed', async () => {
    const directory = formerDirectory();
    const { registry } = await openStores(directory);
    value(await registry.remove('web-01'));
    expect(value(await registry.findByKey('a'.repeat(64)))).toBeUndefined();
    expect(numberOf(directory, 'SELECT count(*) FROM pins')).toBe(1);
  });

  it('opened by several processes at once, is brought over once and whole', async () => {
    const directory = formerDirectory();
    const children = Array.from({ length: 4 }, () => start('open', directory));
    for (const child of children) expect(await child.next()).toBe('ready');
    for (const child of children) child.process.stdin?.write('go\n');
    for (const child of children) expect(await child.next()).toBe('open');
    for (const child of children) await child.ended();
    await expectWhole(await openStores(directory));
  });
});
