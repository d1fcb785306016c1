import { afterEach, describe, expect, it, vi } from 'vitest';
import { headText, showResult } from '../../../../src/apps/cli/result-text.js';
import { bytesFrom, type HostState } from '../../../../src/domain/runs/host-result.js';
import type { HostProgress } from '../../../../src/domain/runs/progress.js';
import { printed } from './printed.js';

const host = (change: Partial<HostProgress> = {}): HostProgress => ({
  ...{ host: 'web-01', script: 'job', reqid: 'r1', state: 'succeeded' },
  ...{ exit: 0, stdout: '', stderr: '', rtt: 5 },
  ...change,
});

const isTerminal = process.stdout.isTTY;
const stdoutIs = (terminal: boolean) => {
  process.stdout.isTTY = terminal;
};
afterEach(() => {
  stdoutIs(isTerminal);
  vi.unstubAllEnvs();
});

const shown = (result: HostProgress) => printed(() => showResult(result));

describe('the line of a host', () => {
  const line = (change: Partial<HostProgress>) => {
    stdoutIs(false);
    return headText(host(change));
  };
  const error = 'read timeout after 10s';
  const said = `    ERROR: ${error}\n`;

  it.each<[HostState, Partial<HostProgress>, string]>([
    ['succeeded', {}, '[OK  exit:0  5ms  req:r1]\n'],
    ['failed', { exit: 3 }, '[FAIL  exit:3  5ms  req:r1]\n'],
    [
      'failed',
      { exit: 126, error: 'killed by SIGKILL' },
      '[FAIL  exit:126  5ms  req:r1]\n    ERROR: killed by SIGKILL\n',
    ],
    ['running', { exit: -1 }, '[RUNNING  exit:-1  5ms  req:r1]\n'],
    ['running', { exit: -1, error }, `[RUNNING  exit:-1  5ms  req:r1]\n${said}`],
    ['queued', { exit: -1 }, '[QUEUED  exit:-1  5ms  req:r1]\n'],
    ['waiting', { exit: -1 }, '[QUEUED  exit:-1  5ms  req:r1]\n'],
    ['unknown', { exit: -1, error }, `[UNKNOWN  exit:-1  5ms  req:r1]\n${said}`],
    ['cancelled', { exit: 126, error }, `[FAIL  exit:-1  5ms  req:r1]\n${said}`],
    ...(['lost', 'refused', 'denied', 'unreachable', 'expired', 'skipped'] as const).map(
      (state): [HostState, Partial<HostProgress>, string] => [
        state,
        { exit: -1, error },
        `[FAIL  exit:-1  5ms  req:r1]\n${said}`,
      ],
    ),
  ])('of one that is %s (%o) is %j', (state, change, text) => {
    expect(line({ state, ...change })).toBe(`==> web-01  ${text}`);
  });

  it('has the name by which the agent calls itself, where that is another', () => {
    expect(line({ reportedHostname: 'vm-7a3f' })).toMatch(/^==> web-01 \(vm-7a3f\) {2}\[OK /);
  });

  it.each<[string, Partial<HostProgress>]>([
    ['NOT ASKED: nothing listens', { fetchError: 'nothing listens' }],
    ['TRUNCATED: stdout: head and tail of 20000000 bytes', { truncated: { stdout: 20_000_000 } }],
    ['TRUNCATED: stderr: head and tail of 7 bytes', { truncated: { stderr: 7 } }],
    [
      'NOT UTF-8: stderr: --json has the bytes as stderr_base64',
      { stderrBytes: bytesFrom('/w==') ?? never() },
    ],
    ['LEFT BEHIND: 1 process lives on: 7', { leftBehind: { count: 1, pids: [7] } }],
    ['LEFT BEHIND: 2 processes live on: 7, 8', { leftBehind: { count: 2, pids: [7, 8] } }],
    ['LEFT BEHIND: 300 processes live on: 7, 8, …', { leftBehind: { count: 300, pids: [7, 8] } }],
    ['LEFT BEHIND: processes that cannot be seen live on', { leftBehind: { pids: [] } }],
  ])('is followed by %s', (text, change) => {
    expect(line(change)).toBe(`==> web-01  [OK  exit:0  5ms  req:r1]\n    ${text}\n`);
  });

  it('has a colour on a terminal where it is good or bad, and none with NO_COLOR', () => {
    stdoutIs(true);
    vi.stubEnv('NO_COLOR', '');
    vi.stubEnv('TERM', 'xterm');
    expect(headText(host())).toContain('[\u001b[32mOK\u001b[0m  exit:0');
    expect(headText(host({ state: 'failed', exit: 1 }))).toContain('[\u001b[31mFAIL\u001b[0m  exit:1');
    expect(headText(host({ state: 'unknown' }))).toContain('[UNKNOWN  exit:-1');
    vi.stubEnv('NO_COLOR', '1');
    expect(headText(host())).toContain('[OK  exit:0');
  });
});

function never(): never {
  throw new Error('that is no base64');
}

describe('on a terminal', () => {
  const output = async (stdout: string, stderr = '') => {
    stdoutIs(true);
    return (await shown(host({ stdout, stderr }))).stdout.split('\n').slice(1).join('\n');
  };

  it('what a script writes is shown, each line behind a mark', async () => {
    expect(await output('one\n\ntwo', 'oops\nagain\n')).toBe(
      '| one\n| \n| two\nSTDERR| oops\nSTDERR| again\n',
    );
    expect(await output('')).toBe('');
  });

  it('a script cannot move the cursor, set the title or clear the screen', async () => {
    expect(await output('\u001b]0;t\u0007\u001b[2J\u009b2Jx\rback\b\n')).toBe(
      '| \\u001b]0;t\\u0007\\u001b[2J\\u009b2Jx\\rback\\u0008\n',
    );
    expect(await output('a\tb\r\n')).toBe('| a\tb\n');
  });

  it('a script cannot forge the line of another host, nor what stands around its output', async () => {
    const forged = '==> web-02  [OK  exit:0  1ms  req:r1]\n    ERROR: none\u2028==> web-03\n';
    const text = await output(forged, forged);
    expect(text.split('\n').filter((line) => /^(==>| {4})/.test(line))).toEqual([]);
  });

  it('what is no text is shown as such, and never as the bytes themselves', async () => {
    stdoutIs(true);
    const stdoutBytes = bytesFrom('/w==') ?? never();
    const { bytes } = await shown(host({ stdout: '\ufffd', stdoutBytes }));
    expect(bytes.includes(0xff)).toBe(false);
    expect(bytes.toString()).toContain('| \ufffd\n');
  });
});

describe('into a pipe', () => {
  it('the output goes as it is', async () => {
    stdoutIs(false);
    const { stdout } = await shown(host({ stdout: '\u001b[2Jout', stderr: 'err\n' }));
    expect(stdout).toBe('==> web-01  [OK  exit:0  5ms  req:r1]\n\u001b[2Jout\n    STDERR: err\n');
  });

  it('bytes that are no text go byte for byte', async () => {
    stdoutIs(false);
    const { bytes } = await shown(
      host({
        ...{
          stdout: 'a\ufffd\n',
          stdoutBytes: bytesFrom(Buffer.from([0x61, 0xff, 0x0a]).toString('base64')) ?? never(),
        },
        ...{ stderr: '\ufffd', stderrBytes: bytesFrom('/g==') ?? never() },
      }),
    );
    const output = Buffer.concat([
      Buffer.from([0x61, 0xff, 0x0a]),
      Buffer.from('    STDERR: '),
      Buffer.from([0xfe, 0x0a]),
    ]);
    expect(bytes.subarray(-output.length)).toEqual(output);
    expect(bytes.toString()).toContain('    NOT UTF-8: stdout: --json has the bytes as stdout_base64\n');
  });
});
