import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import type { KeyStoreItem } from '../../../../../src/ports/key-store.js';

/** A configuration and a state directory, with names as they are on an agent. */
export const pathsIn = (home: string): { paths: Record<KeyStoreItem, string>; journal: string } => ({
  paths: {
    'ca-key': join(home, 'config', 'ca.key'),
    'ca-certificate': join(home, 'config', 'ca.crt'),
    'ca-previous-key': join(home, 'config', 'ca-previous.key'),
    'dispatcher-key': join(home, 'config', 'dispatcher.key'),
    'dispatcher-certificate': join(home, 'config', 'dispatcher.crt'),
    'dispatcher-next-key': join(home, 'config', 'next.key'),
    'dispatcher-next-certificate': join(home, 'config', 'next.crt'),
    'dispatcher-previous-key': join(home, 'config', 'previous.key'),
    'dispatcher-previous-certificate': join(home, 'config', 'previous.crt'),
    rotation: join(home, 'state', 'rotation.json'),
    'pairing-key': join(home, 'config', 'pairing.key'),
    'pairing-certificate': join(home, 'config', 'pairing.crt'),
    'agent-key': join(home, 'config', 'agent.key'),
    'agent-certificate': join(home, 'config', 'agent.crt'),
    'trusted-dispatchers': join(home, 'state', 'dispatchers'),
    'dispatcher-certificates': join(home, 'state', 'dispatcher-certificates.pem'),
    'trust-origins': join(home, 'state', 'trust-origins'),
    'signing-dispatchers': join(home, 'state', 'signing-dispatchers'),
    'agent-revocation-lists': join(home, 'state', 'crl.pem'),
    'revoked-serials': join(home, 'config', 'revoked-serials'),
    'refused-serials': join(home, 'state', 'refused-serials'),
  },
  journal: join(home, 'state', 'key-journal'),
});

export const temporaryDirectory = (): string => mkdtempSync(join(tmpdir(), 'key-files-'));

/**
 * Stands between the adapter and node:fs/promises, also for open files: the global `hook(name)` is called ahead of each
 * call; what it throws is what the call answers.
 */
const HOOKED_FILE_SYSTEM = `
import * as real from 'fs/promises';
const hooked = (name, call) => async (...args) => {
  globalThis.hook?.(name);
  return call(...args);
};
const wrapHandle = (handle) => new Proxy(handle, {
  get: (target, name) => {
    const value = Reflect.get(target, name, target);
    if (typeof value !== 'function') return value;
    const call = value.bind(target);
    // A descriptor is given back even when closing it is reported to have failed.
    if (name === 'close') return async () => { await call(); await hooked('close', async () => undefined)(); };
    return hooked('handle.' + String(name), call);
  },
});
${['access', 'lstat', 'mkdir', 'readFile', 'readdir', 'realpath', 'rename', 'rmdir', 'stat', 'unlink']
  .map((name) => `export const ${name} = hooked('${name}', real.${name});`)
  .join('\n')}
export const open = hooked('open', async (...args) => wrapHandle(await real.open(...args)));
`;

/** Compiles the adapter into `directory`, as plain modules for child processes. */
export function compileAdapter(directory: string): { plain: string; hooked: string; lock: string } {
  mkdirSync(directory, { recursive: true });
  const shim = join(directory, 'hooked-fs.mjs');
  writeFileSync(shim, HOOKED_FILE_SYSTEM);
  const build = (source: string, outfile: string, alias: Record<string, string>) =>
    buildSync({
      entryPoints: [source],
      outfile,
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node20',
      alias,
    });
  const files = join(import.meta.dirname, '../../../../../src/adapters/files');
  const [plain, hooked, lock] = ['plain.mjs', 'hooked.mjs', 'lock.mjs'].map((name) =>
    join(directory, name),
  ) as [string, string, string];
  build(join(files, 'identity/key-store.ts'), plain, {});
  build(join(files, 'identity/key-store.ts'), hooked, { 'node:fs/promises': shim });
  build(join(files, 'lock.ts'), lock, {});
  return { plain, hooked, lock };
}

/** Whether this user may mount, tried: a tiny file system is the only honest way to a full or a read-only disk. */
export function canMount(): boolean {
  const directory = temporaryDirectory();
  try {
    mountTiny(directory);
    unmount(directory);
    return true;
  } catch {
    return false;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

export const mountTiny = (directory: string): void => {
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', directory], { stdio: 'ignore' });
  chmodSync(directory, 0o700);
};

export const remountReadOnly = (directory: string): void => {
  execFileSync('mount', ['-o', 'remount,ro', directory], { stdio: 'ignore' });
};

export const unmount = (directory: string): void => {
  execFileSync('umount', [directory], { stdio: 'ignore' });
};
