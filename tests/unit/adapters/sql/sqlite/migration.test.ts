import Libsql from 'libsql';
import { describe, expect, it } from 'vitest';
import type { SqliteStores } from '../../../../../src/adapters/sql/sqlite/stores.js';
import type { HostResult } from '../../../../../src/domain/runs/host-result.js';
import { progressOf } from '../../../../../src/domain/runs/progress.js';
import type { RunMode, RunRecord } from '../../../../../src/domain/runs/record.js';
import type { AgentRecord } from '../../../../../src/domain/trust/agent-record.js';
import { newStanding } from '../../../../../src/domain/trust/agent-standing.js';
import { failure, value } from '../../../../contract/result.js';
import { formerSchema, schemaBeforeHosts } from './former-schema.js';
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

const result = { host: 'web-01', script: 'deploy', exit: 0, stdout: 'out', stderr: '', rtt: 5, reqid: 'r1' };
const run: RunRecord = {
  reqid: 'r1',
  script: 'deploy',
  args: undefined,
  mode: 'sync',
  principal: undefined,
  username: 'root',
  sourceIp: '',
  startedAt: 1,
  completedAt: 2,
  underWay: false,
  results: [{ ...result, state: 'succeeded', settledAt: 2 }],
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
  const { reqid, script, username, startedAt, completedAt } = run;
  insert('runs', reqid, script, JSON.stringify(['web-01']), username, startedAt, completedAt);
  insert('run_results', reqid, 0, JSON.stringify(result));
  insert('locks', 'web-01', script, reqid, 'o1', 1234, 1);
  insert('join_tokens', token.id, token.name, token.key, token.boundTo, 1, 2, null);
  insert('pairing_requests', 'p1', 'open', 'h', '192.0.2.9', 7443, 'ip', '123456', 'v2', null, 1, 9);
  raw.close();
  return directory;
};

const expectWhole = async ({ registry, runStore, joinTokens, pairing, revocations }: SqliteStores) => {
  expect(value(await registry.list())).toEqual(agents);
  expect(value(await runStore.find(run.reqid))).toEqual(run);
  const { args: _, results: __, underWay: ___, ...asked } = run;
  const summaries = value(await runStore.list({ now: 3, limit: 9 }));
  const ended = { hosts: ['web-01'], outcome: 'succeeded', counts: { succeeded: 1 }, failed: [] };
  expect(summaries).toEqual([{ ...asked, ...ended }]);
  expect(value(await runStore.locks(3))).toEqual([]);
  expect(value(await joinTokens.find(token.id))).toEqual(token);
  expect(value(await pairing.find(['p1']))).toMatchObject([{ code: '123456', state: 'open' }]);
  expect(value(await pairing.held(1))).toEqual([]);
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

describe('runs of the version that kept results and locks in tables of their own', () => {
  const startedAt = 1000;
  const ended = 9000;

  /** A host, what was kept of it (null: nothing), and how it stands now. */
  type Case = readonly [host: string, kept: object | string | null, now: Partial<HostResult>];

  interface Former {
    readonly reqid: string;
    readonly mode: RunMode;
    readonly script?: string;
    readonly completedAt: number | null;
    readonly cases: readonly Case[];
  }

  const output = { stdout: 'out\n', stderr: 'err\n', rtt: 7 };
  const none = { exit: -1, stdout: '', stderr: '', rtt: 7 };
  const timedOut = { error: 'read timeout after 60s', ...none };
  const settled = { settledAt: ended };
  const pending = { seenAt: startedAt };

  const sync: Former = {
    reqid: 'a'.repeat(16),
    mode: 'sync',
    completedAt: ended,
    cases: [
      ['exit-0', { exit: 0, ...output }, { state: 'succeeded', exit: 0, ...output, ...settled }],
      ['exit-3', { exit: 3, ...output }, { state: 'failed', exit: 3, ...output, ...settled }],
      ['no', { error: 'no route', ...none }, { state: 'refused', error: 'no route', ...none, ...settled }],
      ['silent', timedOut, { state: 'unknown', ...timedOut, ...settled }],
      ['lost', { ...none, error: 'lost: host went down' }, { state: 'lost', ...none, ...settled }],
      [
        'stopped',
        { exit: 126, error: 'cancelled', ...output },
        { state: 'cancelled', exit: 126, ...output, ...settled },
      ],
      [
        'cut',
        { exit: 0, ...output, truncated: { stdout: 20_000_000 }, reportedHostname: 'vm-7' },
        {
          ...{ state: 'succeeded', exit: 0, ...output, ...settled },
          ...{ truncated: { stdout: 20_000_000 }, reportedHostname: 'vm-7' },
        },
      ],
      ['nothing-kept', null, { state: 'unknown', exit: -1, stdout: '', stderr: '', rtt: 0, ...settled }],
    ],
  };

  const unheard = (digit: string): Former => ({
    reqid: digit.repeat(16),
    mode: 'sync',
    completedAt: ended,
    cases: [['web-01', { ...timedOut, unheard: true }, { state: 'unknown', ...timedOut, ...pending }]],
  });

  const underWay: Former = {
    reqid: 'd'.repeat(16),
    mode: 'sync',
    completedAt: null,
    cases: [['web-01', null, { state: 'running', exit: -1, ...pending }]],
  };

  const async: Former = {
    reqid: 'e'.repeat(16),
    mode: 'async',
    script: 'job',
    completedAt: null,
    cases: [
      ['accepted', { status: 'accepted' }, { state: 'running', exit: -1, stdout: '', ...pending }],
      ['running', { status: 'running' }, { state: 'running', ...pending }],
      [
        'done-0',
        { status: 'done', exit: 0, stdout: 'out', stderr: '' },
        { state: 'succeeded', exit: 0, stdout: 'out', settledAt: startedAt },
      ],
      [
        'done-2',
        { status: 'done', exit: 2, stdout: '', stderr: 'err', truncated: { stderr: 9 } },
        { state: 'failed', exit: 2, stderr: 'err', truncated: { stderr: 9 }, settledAt: startedAt },
      ],
      [
        'expired',
        { status: 'expired' },
        { state: 'unknown', failure: { code: 'forgotten', message: 'its agent has no record of it' } },
      ],
      [
        'busy',
        { status: 'busy', error: 'script already running' },
        {
          ...{ state: 'refused', error: 'script already running', settledAt: startedAt },
          failure: { code: 'busy', message: 'script already running', script: 'job' },
        },
      ],
      ['error', { status: 'error', error: 'no route' }, { state: 'refused', error: 'no route' }],
      [
        'unheard',
        { status: 'error', error: 'no answer', unheard: true },
        { state: 'unknown', error: 'no answer', ...pending },
      ],
      [
        'cancelled',
        { status: 'cancelled', exit: 126, stdout: 'half', stderr: '', error: 'cancelled' },
        { state: 'cancelled', exit: 126, stdout: 'half', error: 'cancelled', settledAt: startedAt },
      ],
      ['lost', { status: 'lost', error: 'lost' }, { state: 'lost', error: 'lost', settledAt: startedAt }],
      ['nothing-kept', null, { state: 'running', ...pending }],
    ],
  };

  /** All hosts had ended; that was not noted any more. */
  const unnoted: Former = {
    reqid: 'f'.repeat(16),
    mode: 'async',
    completedAt: null,
    cases: [['web-01', { status: 'done', exit: 0, stdout: '', stderr: '' }, { state: 'succeeded' }]],
  };

  const damaged: Former = {
    reqid: '1'.repeat(16),
    mode: 'sync',
    completedAt: null,
    cases: [
      ['web-01', '{"exit":0,"stdout":"', {}],
      ['web-02', '', {}],
    ],
  };

  const open = [unheard('b'), unheard('c'), underWay, async];
  const whole = [...open, sync, unnoted];

  const directoryBefore = (runs: readonly Former[]): string => {
    const directory = temporaryDirectory();
    const raw = new Libsql(storeOptions(directory).path);
    raw.exec(`PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON; ${schemaBeforeHosts}`);
    const insert = (table: string, row: Readonly<Record<string, unknown>>) => {
      const columns = Object.keys(row);
      const statement = `INSERT INTO ${table} (${columns}) VALUES (${columns.map(() => '?')})`;
      raw.prepare(statement).run(Object.values(row));
    };
    for (const { reqid, mode, script = 'deploy', completedAt, cases } of runs) {
      const hosts = JSON.stringify(cases.map(([host]) => host));
      insert('runs', {
        ...{ reqid, script, hosts, mode, username: 'ann', source_ip: '192.0.2.9', args: '["a b"]' },
        ...{ started_at: startedAt, completed_at: completedAt, retry_of: '9'.repeat(16) },
        ...{
          idempotency_key: `key ${reqid}`,
          caller_digest: 'ab',
          submissions: mode === 'async' ? '[]' : null,
        },
      });
      cases.forEach(([host, kept], position) => {
        if (kept === null) return;
        const named = mode === 'sync' ? { host, script, reqid } : { host };
        const result = typeof kept === 'string' ? kept : JSON.stringify({ ...named, ...kept });
        insert('run_results', { reqid, position, result });
      });
    }
    for (const [host, script, reqid] of [
      ['web-01', 'deploy', 'd'.repeat(16)],
      ['running', 'job', 'e'.repeat(16)],
    ])
      insert('locks', { host, script, reqid, owner: 'o1', pid: 1234, since: startedAt });
    raw.close();
    return directory;
  };

  const opened = async (runs: readonly Former[]) => (await openStores(directoryBefore(runs))).runStore;
  const isOpen = (reqid: string) => open.some((each) => each.reqid === reqid);

  it('come back whole, each host in its state', async () => {
    const runStore = await opened(whole);
    for (const { reqid, mode, script = 'deploy', completedAt, cases } of whole) {
      const found = value(await runStore.find(reqid));
      expect(found).toMatchObject({
        ...{ reqid, mode, script, startedAt, username: 'ann', sourceIp: '192.0.2.9', args: ['a b'] },
        ...{ retryOf: '9'.repeat(16), principal: undefined, underWay: false },
        idempotency: { key: `key ${reqid}`, callerDigest: 'ab' },
        completedAt: isOpen(reqid) ? undefined : (completedAt ?? startedAt),
      });
      expect(found?.results).toMatchObject(cases.map(([host, , now]) => ({ host, script, reqid, ...now })));
      expect(value(await runStore.findByIdempotencyKey(`key ${reqid}`))).toEqual(found);
    }
    const first = value(await runStore.find(sync.reqid))?.results[0];
    const named = { host: 'exit-0', script: 'deploy', reqid: sync.reqid };
    expect(first).toEqual({ ...named, state: 'succeeded', exit: 0, ...output, ...settled });
  });

  it('are still asked about where something may be learnt, and silent since their start', async () => {
    const runStore = await opened(whole);
    const found = async (reqid: string, now: number) => {
      const record = value(await runStore.find(reqid));
      if (!record) throw new Error('there is no such run');
      return progressOf(record, now);
    };
    const minute = 60_000;
    const asked = ['accepted', 'running', 'unheard', 'nothing-kept'];
    expect((await found(async.reqid, startedAt + minute)).pending).toEqual(asked);
    for (const { reqid } of [unheard('b'), unheard('c'), underWay])
      expect((await found(reqid, startedAt + minute)).pending).toEqual(['web-01']);
    for (const { reqid } of [sync, unnoted]) expect((await found(reqid, ended)).pending).toEqual([]);
    const [accepted] = (await found(async.reqid, startedAt + 16 * minute)).results;
    expect(accepted).toMatchObject({ state: 'unknown', error: 'nothing was heard of it for 16 min' });
  });

  it('hold no lock, are listed, and end when their end is learnt', async () => {
    const runStore = await opened(whole);
    const digits = async (listing: object) =>
      value(await runStore.list({ now: startedAt, limit: 99, ...listing }))
        .map(({ reqid }) => reqid[0])
        .join('');
    expect(value(await runStore.locks(startedAt))).toEqual([]);
    expect(await digits({})).toBe('fedcba');
    expect(await digits({ open: true })).toBe('edcb');
    expect(await digits({ state: 'unknown' })).toBe('ecba');
    expect(await digits({ state: 'lost' })).toBe('ea');
    expect(await digits({ hosts: ['web-01'], state: 'succeeded' })).toBe('f');
    const [, summary] = value(await runStore.list({ now: startedAt, limit: 2 }));
    expect(summary).toMatchObject({
      outcome: 'running',
      counts: { running: 3, succeeded: 1, failed: 1, refused: 2, unknown: 2, cancelled: 1, lost: 1 },
      failed: ['done-2', 'busy', 'error', 'cancelled', 'lost'],
    });
    const reqid = 'b'.repeat(16);
    const [known] = value(await runStore.find(reqid))?.results ?? [];
    if (!known) throw new Error('there is no such host');
    const { error: _, ...heard } = known;
    const end: HostResult = { ...heard, state: 'succeeded', exit: 0, settledAt: 9999 };
    value(await runStore.settle(reqid, [end], 9999));
    expect(value(await runStore.find(reqid))).toMatchObject({ completedAt: 9999, results: [end] });
    const again = {
      ...run,
      reqid: '2'.repeat(16),
      args: [],
      principal: 'os:root',
      hosts: [{ host: 'web-01' }],
    };
    expect(value(await runStore.begin(again, 9999))).toEqual({ kind: 'begun' });
  });

  it('that are damaged are an error where they are read, and nowhere else', async () => {
    const runStore = await opened([damaged, sync]);
    expect(failure(await runStore.find(damaged.reqid))).toMatchObject({ reason: 'damaged_row' });
    expect(value(await runStore.find(sync.reqid))).toBeDefined();
    const [, listed] = value(await runStore.list({ now: ended, limit: 9 }));
    expect(listed).toMatchObject({ reqid: damaged.reqid, completedAt: startedAt, counts: { unknown: 2 } });
    expect(value(await runStore.list({ now: ended, limit: 9, open: true }))).toEqual([]);
  });
});

describe('what was revoked before keys were banned', () => {
  it('is kept, its keys are banned where they are known, and who lacks what is known', async () => {
    const directory = temporaryDirectory();
    const raw = new Libsql(storeOptions(directory).path);
    raw.exec(`PRAGMA journal_mode = WAL; PRAGMA foreign_keys = ON; ${schemaBeforeHosts}`);
    const endpoint = JSON.stringify(home);
    for (const [name, key, serial] of [
      ['db-01', 'a', '1f'],
      ['web-01', 'b', '2e'],
    ]) {
      raw
        .prepare('INSERT INTO agents (name, endpoint, pairing, paired_at, tags) VALUES (?, ?, ?, 1, ?)')
        .run([name, endpoint, 'v2', '{}']);
      raw
        .prepare("INSERT INTO pins VALUES (?, 'active', 0, ?, ?, 900, 1, NULL, 'v2', NULL)")
        .run([name, key?.repeat(64), serial]);
    }
    for (const [serial, at] of [
      ['1f', 100],
      ['3d', 200],
      ['4c', 200],
      ['5b', 300],
    ])
      raw.prepare('INSERT INTO revocations VALUES (?, NULL, ?)').run([serial, at]);
    raw.exec('UPDATE revocation_revision SET revision = 7');
    raw.close();

    const { registry, revocations } = await openStores(directory);
    const { revision, entries } = value(await revocations.current());
    expect(revision).toBe(7);
    expect(entries.map(({ serial, notAfter }) => [serial, notAfter])).toEqual([
      ['1f', 900],
      ['3d', undefined],
      ['4c', undefined],
      ['5b', undefined],
    ]);
    expect(value(await revocations.bannedKeys())).toEqual([
      { spkiSha256: 'a'.repeat(64), name: 'db-01', bannedAt: 100 },
    ]);
    const missing = async (number: number) => value(await revocations.missingSince(number));
    expect(await Promise.all([4, 5, 6, 7].map(missing))).toEqual([100, 200, 300, undefined]);
    value(await registry.remove('web-01'));
    expect(value(await revocations.issued({ serial: '2e' }))).toMatchObject([{ name: 'web-01' }]);
  });
});
