import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { libraryPage } from '../../../scripts/library-doc.mjs';
import { errorAnswers } from '../../../src/apps/api/answers/refusals.js';

const page = readFileSync(new URL('../../../docs/library.md', import.meta.url), 'utf8');

it('docs/library.md is what `npm run docs:tables` makes of the types', () => {
  expect(page).toBe(libraryPage());
});

it('every code has its HTTP status', () => {
  for (const [code, { status }] of Object.entries(errorAnswers))
    expect(page).toMatch(new RegExp(`^\\| \`${code}\` \\|.*\\| ${status} \\| \\d+ \\|$`, 'm'));
});
