import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { markers, withoutDefence, withTable } from '../../../scripts/defences.mjs';
import { defences } from '../../../scripts/defences-list.mjs';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const text = (path: string) => readFileSync(join(root, path), 'utf8');

it('docs/security.md has the table that `npm run docs:defences` makes', () => {
  const page = text('docs/security.md');
  expect(withTable(page)).toBe(page);
});

it('every defence names a test that needs no built commands', () => {
  const missing = defences.filter(
    ({ test }) =>
      !/^(unit|contract|slow\/(adapters|lifecycle))\/.*\.test\.ts$/.test(test) ||
      !existsSync(join(root, 'tests', test)),
  );
  expect(missing).toEqual([]);
});

it('every defence is marked once in src, and what is left without it is another text that parses', () => {
  for (const defence of defences) expect(() => withoutDefence(defence), defence.threat).not.toThrow();
});

it('every marker in src is of a defence', () => {
  expect([...markers.keys()].sort()).toEqual([...new Set(defences.map(({ defence }) => defence))].sort());
});

it('no two rows are the same', () => {
  const threats = defences.map(({ threat, stoppedBy }) => JSON.stringify([threat, stoppedBy]));
  const proofs = defences.map(({ defence, test, named }) => JSON.stringify([defence, test, named]));
  expect([new Set(threats).size, new Set(proofs).size]).toEqual([defences.length, defences.length]);
});
