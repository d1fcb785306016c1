/** What the processes do that the tests start: `node child.mjs COMMAND DIRECTORY NAME COUNT`, one JSON line a report. */

import { closeSync, openSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { openSqliteStores, type SqliteStores } from '../../../../../src/adapters/sql/sqlite/stores.js';
import type { HostResult } from '../../../../../src/domain/runs/host-result.js';
import type { Enrolment } from '../../../../../src/ports/registry.js';
import type { RunStart } from '../../../../../src/ports/run-store.js';
import { value } from '../../../../contract/result.js';

const [command = '', directory = '', name = '', count = '0'] = process.argv.slice(2);
const report = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`);

const open = async (): Promise<SqliteStores> =>
  value(
    await openSqliteStores({
      path: join(directory, 'state.db'),
      sessionsDirectory: join(directory, 'locks'),
    }),
  );

const enrolment = (agent: string): Enrolment => ({
  name: agent,
  endpoint: { host: agent, ip: '192.0.2.1', port: 7443, lookupBy: 'ip' },
  pin: { spkiSha256: `key of ${agent}`, state: 'issued', serial: '1', notAfter: 2, issuedAt: 1 },
  pairing: 'v2',
  replace: false,
  standing: { serials: ['d1'], caSet: undefined, crlNumber: 0, lastContact: undefined, speaks: undefined },
  at: 1,
});

const deploy = (reqid: string): RunStart => ({
  reqid,
  script: 'deploy',
  hosts: [{ host: 'web-01' }],
  args: [],
  mode: 'sync',
  principal: 'os:root',
  username: 'ann',
  sourceIp: '',
  startedAt: 1000,
});

const done = (reqid: string): HostResult => ({
  ...{ host: 'web-01', script: 'deploy', reqid, state: 'succeeded' },
  ...{ exit: 0, stdout: '', stderr: '', rtt: 1, settledAt: 2000 },
});

/** Fails when somebody else is inside. */
const insideAlone = (what: string): void => {
  const marker = join(directory, `inside ${what}`);
  closeSync(openSync(marker, 'wx'));
  unlinkSync(marker);
};

const commands: Readonly<Record<string, () => Promise<void>>> = {
  /** Opens at the signal, with a permissive umask. */
  open: async () => {
    process.umask(0);
    report('ready');
    await new Promise((started) => process.stdin.once('data', started));
    const stores = await open();
    report('open');
    await stores.close();
  },

  /** Uses everything as fast as it can; reports what it won. */
  hammer: async () => {
    const stores = await open();
    let decided = 0;
    let exclusive = 0;
    let begun = 0;
    for (let round = 0; round < Number(count); round++) {
      value(await stores.registry.enrol(enrolment(`${name}-${round}`)));
      const decision = { verdict: 'deny', reason: name } as const;
      const outcome = await stores.pairing.decide({ id: `request ${round}`, decision, at: 0 });
      if (outcome.isOk()) decided++;
      else if (outcome.error.code !== 'not_ready') throw new Error(outcome.error.message);
      const held = await stores.mutex.acquire('maintain', 0);
      if (held.isOk()) {
        exclusive++;
        insideAlone('maintain');
        value(await held.value.release());
      } else if (held.error.code !== 'held') throw new Error(held.error.message);
      const reqid = `${name}-${round}`;
      if (value(await stores.runStore.begin(deploy(reqid), 1000)).kind === 'begun') {
        begun++;
        insideAlone('deploy');
        value(await stores.runStore.settle(reqid, [done(reqid)], 2000, 'left'));
      }
      value(await stores.registry.list());
    }
    await stores.close();
    report({ decided, exclusive, begun });
  },

  /** Does exclusive work, runs a script, and ends neither. */
  hold: async () => {
    const stores = await open();
    value(await stores.mutex.acquire('pairing', 1000));
    value(await stores.runStore.begin(deploy(name), 1000));
    report('held');
    await new Promise(() => setInterval(() => {}, 60_000));
  },

  /** Writes without end and reports what was acknowledged. */
  write: async () => {
    const stores = await open();
    for (let round = 0; ; round++) {
      value(await stores.registry.enrol(enrolment(`${name}-${round}`)));
      report(`${name}-${round}`);
    }
  },
};

await commands[command]?.();
process.exit();
