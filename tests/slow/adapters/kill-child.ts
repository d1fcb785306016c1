/** What the processes do that are killed: `node child.mjs COMMAND DIRECTORY NAME`, one JSON line for each thing that is done. */

import { join } from 'node:path';
import { fileRunJournal } from '../../../src/adapters/files/journal/run-journal.js';
import { value } from '../../contract/result.js';

const [command = '', directory = '', name = ''] = process.argv.slice(2);
const open = () => fileRunJournal({ directory, former: join(directory, 'none'), bootId: () => 'this boot' });
const report = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`);

const commands: Readonly<Record<string, () => Promise<void>>> = {
  /** Enters without end, several at once, in a time that runs so fast that the journal is written anew all along. */
  enter: async () => {
    const journal = open();
    report({ complete: value(await journal.complete()) });
    let now = 1_800_000_000_000 + Number(name) * 3_600_000;
    for (let round = 0; ; round += 1) {
      now += 1000;
      const entries = Array.from({ length: 1 + (round % 6) }, (_, index) => ({
        keyid: 'key',
        nonce: `${name}-${round}-${index}`,
        until: now + 90_000,
      }));
      const at = now;
      await Promise.all(
        entries.map(async (entry) => {
          const { kind } = value(await journal.claim({ nonce: entry }, at));
          report({ ...entry, now: at, kind });
        }),
      );
    }
  },

  /** Begins and ends without end, several at once, and forgets what is old. */
  run: async () => {
    const runs = open();
    for (let round = 0; ; round += 1) {
      const keys = Array.from({ length: 12 }, (_, index) => ({
        owner: 'dispatcher-1',
        reqid: `${name}-${round}-${index}`,
      }));
      await Promise.all(
        keys.map(async (key, index) => {
          const { kind } = value(await runs.claim({ run: { ...key, script: 'backup' } }, round));
          report({ reqid: key.reqid, round, kind });
          if (index > 9) return;
          const stdout = index === 0 ? key.reqid : '';
          value(await runs.end(key, round + 1, { exit: 0, stdout, stderr: '' }));
          report({ reqid: key.reqid, round, kind: 'done' });
        }),
      );
      if (round % 20 === 19) {
        report({ purge: round - 10 });
        value(await runs.purge(round - 10));
      }
    }
  },

  /** Begins and settles the same ids at once, without end. */
  settle: async () => {
    const runs = open();
    for (let round = 0; ; round += 1) {
      const work = Array.from({ length: 12 }, async (_, index) => {
        const key = { owner: `dispatcher-${index}`, reqid: `${name}-${round}` };
        const begin = async () => value(await runs.claim({ run: { ...key, script: 'backup' } }, round)).kind;
        const settle = async () => value(await runs.settle(key)).kind;
        const both = (round + index) % 2 === 0 ? [begin, settle] : [settle, begin];
        await Promise.all(
          both.map(async (each) => {
            report({ ...key, kind: await each() });
          }),
        );
      });
      await Promise.all(work);
    }
  },
};

await commands[command]?.();
