import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { eventsPage, readCatalogue, readLevels } from '../../../scripts/events-doc.mjs';

const page = readFileSync(new URL('../../../docs/events.md', import.meta.url), 'utf8');

it('docs/events.md is what `npm run docs:events` makes of the catalogue', () => {
  expect(page).toBe(eventsPage());
});

it('every event of the catalogue is emitted somewhere, and none besides', () => {
  const known = [...readCatalogue().values()].flat().map(({ action }) => action);
  expect([...readLevels().keys()].sort()).toEqual(known.sort());
});

it('an event has the levels of all places that emit it', () => {
  const levels = readLevels();
  expect([...(levels.get('pairing-refused') ?? [])].sort()).toEqual(['error', 'warning']);
  expect([...(levels.get('run-end') ?? [])].sort()).toEqual(['info', 'warning']);
});
