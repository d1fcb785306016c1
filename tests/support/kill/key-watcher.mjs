// Looks at every file below a directory that is or holds a private key, again and again, as fast as it may without
// being in the way; each line on standard input is answered with what it has seen so far.
import { lstatSync, readdirSync } from 'node:fs';
import { constants, setPriority } from 'node:os';
import { createInterface } from 'node:readline';

const [root = ''] = process.argv.slice(2);
setPriority(constants.priority.PRIORITY_LOW);

/** Keys, what becomes a key, the journal of a change (it holds keys), the database (it holds what join tokens prove). */
const secret = /\.key$|\.key\.tmp-|identity\.journal$|identity\.journal\.tmp-|\.db(-wal|-shm|-journal)?$/;
/** @type {{ rounds: number, looks: number, kinds: Record<string, number>, wrong: string[] }} */
const seen = { rounds: 0, looks: 0, kinds: {}, wrong: [] };

/** @param {string} directory */
const look = (directory) => {
  /** @type {import('node:fs').Dirent[]} */
  let entries = [];
  try {
    entries = readdirSync(directory, { withFileTypes: true });
  } catch {
    return;
  }
  for (const entry of entries) {
    const path = `${directory}/${entry.name}`;
    if (entry.isDirectory()) look(path);
    if (!entry.isFile() || !secret.test(entry.name)) continue;
    try {
      const mode = lstatSync(path).mode & 0o777;
      const kind = entry.name.replace(/\.tmp-.*/, '.tmp').replace(/owner-.*\.db/, 'owner.db');
      seen.looks += 1;
      seen.kinds[kind] = (seen.kinds[kind] ?? 0) + 1;
      if ((mode & 0o077) !== 0) seen.wrong.push(`${path} ${mode.toString(8)}`);
    } catch {
      // It was renamed or removed since.
    }
  }
};

const go = () => {
  const until = performance.now() + 10;
  while (performance.now() < until) {
    look(root);
    seen.rounds += 1;
  }
  setImmediate(go);
};

createInterface({ input: process.stdin })
  .on('line', () => console.log(JSON.stringify(seen)))
  .once('close', () => process.exit(0));
go();
