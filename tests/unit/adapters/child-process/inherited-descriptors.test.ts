import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import { beforeAll, describe, expect, test } from 'vitest';
import { scriptDirectory } from './scripts.js';

const { directory, file, shell } = scriptDirectory();
const bundle = join(directory, 'host.mjs');
const secret = file('secret\n', 0o600);
const root = new URL('../../../../', import.meta.url).pathname;

/** A process that runs one script, prints what that printed, and says what it has open itself. */
const host = `
  import { childProcessRunner } from '${root}src/adapters/child-process/runner.js';
  import { inheritedDescriptors, prepareDaemon } from '${root}src/adapters/child-process/inherited-descriptors.js';
  if (process.argv[3] === 'prepared') prepareDaemon();
  const request = { path: process.argv[2], args: [], stdin: new Uint8Array(), env: { PATH: '/usr/bin:/bin' },
    stdinTimeout: 1000, timeout: 0, maxOutput: 100000 };
  const outcome = (await childProcessRunner().run(request))._unsafeUnwrap();
  const seen = new TextDecoder().decode(outcome.stdout.bytes);
  process.stdout.write(JSON.stringify({ seen, own: inheritedDescriptors() }));
`;

beforeAll(() => {
  buildSync({
    stdin: { contents: host, resolveDir: root, loader: 'ts' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    outfile: bundle,
    logLevel: 'error',
  });
});

/** Starts the host with `secret` as descriptors 20 and 40 and umask 077. */
const runHost = async (script: string, mode: 'plain' | 'prepared', env: Record<string, string> = {}) => {
  const descriptor = openSync(secret, 'r');
  const extra = Array.from({ length: 38 }, (_, index) => ([17, 37].includes(index) ? descriptor : 'ignore'));
  const before = process.umask(0o077);
  const child = spawn(process.execPath, [bundle, script, mode], {
    stdio: ['ignore', 'pipe', 'inherit', ...extra],
    env: { ...process.env, ...env },
  });
  process.umask(before);
  closeSync(descriptor);
  let printed = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    printed += chunk.toString();
  });
  await new Promise((resolve) => child.once('close', resolve));
  return JSON.parse(printed) as { seen: string; own: number[] };
};

describe('descriptors that this process was born with', () => {
  const list = shell('for n in $(ls /proc/$$/fd); do echo "$n $(readlink "/proc/$$/fd/$n")"; done; umask');

  test('lead a script to /dev/null, whatever they lead to here', async () => {
    const { seen, own } = await runHost(list, 'plain');
    expect(seen).not.toContain(secret);
    for (const descriptor of own) expect(seen).toContain(`${descriptor} /dev/null\n`);
    expect(own.length).toBeGreaterThan(0);
  });

  test('are closed by a daemon before it begins, and its scripts have umask 022', async () => {
    const { seen, own } = await runHost(list, 'prepared');
    expect(own).toEqual([]);
    expect(seen).not.toContain(secret);
    expect(seen).not.toMatch(/^(20|40) /m);
    expect(seen).toMatch(/^0022$/m);
  });
});

describe.skipIf(!existsSync('/usr/bin/prlimit'))('the limit of open files (skipped: without prlimit)', () => {
  const limit = shell('ulimit -Sn; echo "$1$CTRL_EXEC_OPEN_FILES"');

  test('is the one that a daemon says it got, for its scripts', async () => {
    const { seen } = await runHost(limit, 'prepared', { CTRL_EXEC_OPEN_FILES: '123' });
    expect(seen).toBe('123\n\n');
  });

  test.each(['99999999', 'unlimited', '-1', ''])('stays as it is where it says %j', async (said) => {
    const { seen } = await runHost(limit, 'prepared', { CTRL_EXEC_OPEN_FILES: said });
    expect(seen).toBe((await runHost(limit, 'plain')).seen);
  });
});
