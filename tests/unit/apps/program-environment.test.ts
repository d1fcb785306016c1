import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { homeDirectory } from '../../../src/adapters/child-process/home.js';
import { programEnvironment } from '../../../src/apps/program-environment.js';

const account = readFileSync('/etc/passwd', 'utf8')
  .split('\n')
  .map((line) => line.split(':'))
  .find(([, , uid]) => uid === String(process.geteuid?.()));

it.skipIf(account === undefined)(
  'the home of programs is that of the account where the environment has none',
  () => {
    expect([homeDirectory({}), homeDirectory({ HOME: '' }), homeDirectory({ HOME: '/h' })]).toEqual([
      account?.[5],
      account?.[5],
      '/h',
    ]);
  },
);

it('programs get a safe PATH, HOME, locale and time zone, and nothing else', () => {
  const environment = { HOME: '/no', PATH: '/x', LANG: 'C', LC_TIME: 'C', TZ: 'UTC', SECRET: '1' };
  expect(programEnvironment(environment, '/h')).toEqual({
    HOME: '/h',
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    LANG: 'C',
    LC_TIME: 'C',
    TZ: 'UTC',
  });
});
