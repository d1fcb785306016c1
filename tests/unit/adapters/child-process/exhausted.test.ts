import { spawn } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { beforeAll, describe, expect, test } from 'vitest';
import { bundle } from '../../../support/commands/bundle.js';
import { scriptDirectory } from './scripts.js';

const { directory, file, shell } = scriptDirectory();
const host = join(directory, 'host.mjs');
const program = shell('echo ran');
const plainText = file('echo ran in a shell\n');

beforeAll(() => {
  bundle('tests/support/processes/exhausted-host.ts', host);
  chmodSync(directory, 0o755);
});

const runHost = async (what: 'descriptors' | 'processes', uid?: number): Promise<string[]> => {
  const command = `ulimit -n 64; exec "$0" "$@"`;
  const child = spawn('/bin/sh', ['-c', command, process.execPath, host, program, plainText, what], {
    stdio: ['ignore', 'pipe', 'inherit'],
    ...(uid !== undefined && { uid, gid: uid }),
  });
  return (await json(child.stdout)) as string[];
};

const ran = '{"kind":"exited","code":0} ran\n';

describe('when the system has nothing left', () => {
  test('with any number of free descriptors a program runs as it should, or not at all, and no shell steps in', async () => {
    const lines = await runHost('descriptors');
    const programs = lines.filter((_, index) => index % 2 === 0);
    const texts = lines.filter((_, index) => index % 2 === 1);
    expect(programs[0]).toBe('this process has too many open files, or no memory (EMFILE)');
    expect(programs.at(-1)).toBe(ran);
    for (const line of programs)
      expect(line === ran || /^[^\n]*\((EMFILE|ENFILE|EBADF)\)$/.test(line)).toBe(true);
    for (const line of texts) expect(line).toMatch(/^[^\n]*\((EMFILE|ENOEXEC)\)$/);
  });

  const skipped = process.getuid?.() === 0 ? '' : ' (skipped: only root can be another user)';
  test.skipIf(skipped !== '')(`without another process it says so${skipped}`, async () => {
    expect(await runHost('processes', 65_534)).toEqual([
      'the system has no room for another process (EAGAIN)',
      'neither a binary nor a script that begins with #! (ENOEXEC)',
    ]);
  });
});
