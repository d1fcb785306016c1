import { expect, it } from 'vitest';
import { mayGoOn, mayHaveRun } from '../../../../src/apps/cli/may-have-run.js';

const base = { script: 'greet', stdout: '', stderr: '', rtt: 0, reqid: '0'.repeat(16) };

it('a script may have run where it ended or nothing was heard, and may go on in the second case alone', () => {
  const ended = { ...base, host: 'ended', exit: 3 };
  const unheard = { ...base, host: 'unheard', exit: -1, unheard: true } as const;
  const unreached = { ...base, host: 'unreached', exit: -1, error: 'nothing listens' };
  expect([ended, unheard, unreached].map(mayHaveRun)).toEqual([true, true, false]);
  expect(mayGoOn([ended, unheard, unreached])).toEqual(['unheard']);
});
