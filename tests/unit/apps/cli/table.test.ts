import { expect, it } from 'vitest';
import { table } from '../../../../src/apps/cli/table.js';

it('columns stand under their titles, by the width that a terminal gives each character', () => {
  const text = table(
    ['NAME', 'TAGS', 'IP'],
    [
      ['web-01', 'city=東京', '192.0.2.1'],
      ['db-01', 'city=Zu\u0308rich', '192.0.2.2'],
      ['a', 'x', 'y'],
    ],
  );
  expect(text.split('\n')).toEqual([
    'NAME    TAGS         IP',
    '-----------------------',
    'web-01  city=東京    192.0.2.1',
    'db-01   city=Zu\u0308rich  192.0.2.2',
    'a       x            y',
    '',
  ]);
});

it('the last cell of a row widens no column', () => {
  expect(table(['A', 'B'], [['1', 'a long text'], ['a long text']]).split('\n')[1]).toBe('-'.repeat(4));
});
