import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { withTable } from '../../../scripts/defences.mjs';
import { defences } from '../../../scripts/defences-list.mjs';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const text = (path: string) => readFileSync(join(root, path), 'utf8');

it('docs/security.md has the table that `npm run docs:defences` makes', () => {
  const page = text('docs/security.md');
  expect(withTable(page)).toBe(page);
});

it('every defence names a test of the unit project', () => {
  const missing = defences.filter(
    ({ test }) => !/^(unit|contract)\/.*\.test\.ts$/.test(test) || !existsSync(join(root, 'tests', test)),
  );
  expect(missing).toEqual([]);
});

it('what takes a defence away is found once in its file, and changes it', () => {
  const found = defences.map(({ threat, without: { file, from, to } }) => ({
    threat,
    times: text(file).split(from).length - 1,
    changes: from !== to,
  }));
  expect(found.filter(({ times, changes }) => times !== 1 || !changes)).toEqual([]);
});

it('no two rows are the same', () => {
  const rows = defences.map(({ threat, stoppedBy }) => JSON.stringify([threat, stoppedBy]));
  const removals = defences.map(({ without: { file, from } }) => JSON.stringify([file, from]));
  expect([new Set(rows).size, new Set(removals).size]).toEqual([defences.length, defences.length]);
});
