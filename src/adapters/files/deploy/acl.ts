import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { type Acl, parseAcl } from '../../../domain/deploy/acl.js';
import { ExplainedFailure } from '../system-failure.js';

const directories = ['/usr/sbin', '/usr/bin', '/sbin', '/bin'];
const timeout = 30_000;
/** The file as the program finds it: its fourth descriptor. */
const given = '/proc/self/fd/3';

const programPath = (name: string, programs = directories): string | undefined =>
  programs.map((directory) => `${directory}/${name}`).find((path) => existsSync(path));

/** Runs a program on an open file, and gives what it prints. */
function run(program: string, args: readonly string[], handle: FileHandle): Promise<string> {
  return new Promise((resolve, reject) => {
    const failed = (how: string) => reject(new ExplainedFailure('EIO', `${program} ${how}`));
    const child = spawn(program, [...args, given], {
      stdio: ['ignore', 'pipe', 'ignore', handle.fd],
      env: { LC_ALL: 'C', PATH: directories.join(':') },
      timeout,
      killSignal: 'SIGKILL',
    });
    let printed = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      printed += printed.length > 65_536 ? '' : text;
    });
    child.on('error', ({ message }) => failed(message));
    child.on('close', (code, signal) => {
      if (code === 0) resolve(printed);
      else failed(code === null ? `was ended by ${signal}` : `exited with ${code}`);
    });
  });
}

const missing = () =>
  new ExplainedFailure(
    'ENOTSUP',
    'it has an access control list, and getfacl and setfacl are not installed: install the package acl',
  );

/** The access control list of an open file; undefined: it has none. Node cannot tell, so a program is asked. */
export async function readAcl(handle: FileHandle, programs = directories): Promise<Acl | undefined> {
  const getfacl = programPath('getfacl', programs);
  if (getfacl === undefined) {
    const ls = existsSync('/proc/self/fd') ? programPath('ls', programs) : undefined;
    // defence: acl-without-tools-is-refused
    if (ls !== undefined && (await run(ls, ['-ldL'], handle))[10] === '+') throw missing();
    return undefined;
  }
  const read = parseAcl(
    await run(getfacl, ['--absolute-names', '--numeric', '--omit-header', '--no-effective'], handle),
  );
  if (read === undefined) throw new ExplainedFailure('EIO', `${getfacl} printed what is no list`);
  return read.acl;
}

/** Gives an open file this list and nothing else; undefined: no list at all. */
export async function writeAcl(handle: FileHandle, acl: Acl | undefined): Promise<void> {
  const setfacl = programPath('setfacl');
  if (setfacl === undefined) throw missing();
  await run(setfacl, acl === undefined ? ['--remove-all'] : ['--set', acl], handle);
}
