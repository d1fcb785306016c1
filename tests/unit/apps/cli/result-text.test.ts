import { afterEach, describe, expect, it } from 'vitest';
import { resultText, stateText } from '../../../../src/apps/cli/result-text.js';

const result = (stdout: string, stderr = '') =>
  ({ host: 'web-01', script: 'job', exit: 0, stdout, stderr, rtt: 5, reqid: 'r1' }) as const;

const isTerminal = process.stdout.isTTY;
const stdoutIs = (terminal: boolean) => {
  process.stdout.isTTY = terminal;
};
afterEach(() => stdoutIs(isTerminal));

describe('on a terminal', () => {
  const shown = (stdout: string, stderr = '') => {
    stdoutIs(true);
    return resultText(result(stdout, stderr)).split('\n').slice(1).join('\n');
  };

  it('what a script writes is shown, each line behind a mark', () => {
    expect(shown('one\n\ntwo', 'oops\nagain\n')).toBe('| one\n| \n| two\nSTDERR| oops\nSTDERR| again\n');
    expect(shown('')).toBe('');
  });

  it('a script cannot move the cursor, set the title or clear the screen', () => {
    expect(shown('\u001b]0;t\u0007\u001b[2J\u009b2Jx\rback\b\n')).toBe(
      '| \\u001b]0;t\\u0007\\u001b[2J\\u009b2Jx\\rback\\u0008\n',
    );
    expect(shown('a\tb\r\n')).toBe('| a\tb\n');
  });

  it('a script cannot forge the line of another host, nor what stands around its output', () => {
    const forged = '==> web-02  [OK  exit:0  1ms  req:r1]\n    ERROR: none\u2028==> web-03\n';
    expect(
      shown(forged, forged)
        .split('\n')
        .filter((line) => /^(==>| {4})/.test(line)),
    ).toEqual([]);
  });

  it('the state of an async run is shown in the same way', () => {
    stdoutIs(true);
    const text = stateText({ host: 'web-01', status: 'done', exit: 0, stdout: '==> \u001b[2J' }, 'r1');
    expect(text.split('\n').slice(1)).toEqual(['| ==> \\u001b[2J', '']);
  });
});

it('into a pipe the output goes as it is', () => {
  stdoutIs(false);
  const text = resultText(result('\u001b[2Jout', 'err\n'));
  expect(text).toBe('==> web-01  [OK  exit:0  5ms  req:r1]\n\u001b[2Jout\n    STDERR: err\n');
});
