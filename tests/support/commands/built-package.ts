import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));

const newest = (directory: string): number =>
  Math.max(
    ...readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => statSync(join(entry.parentPath, entry.name)).mtimeMs),
  );

/** What is built: the contract suites are published, too. */
const sources = [join(root, 'src'), join(root, 'tests/contract')];

/** Integration tests run the commands as they are shipped: built once before them, if the build is older than what it is made of. */
export default function setup(): void {
  const built = join(root, 'dist/bin/ctrl-exec.js');
  if (existsSync(built) && statSync(built).mtimeMs > Math.max(...sources.map(newest))) return;
  const build = spawnSync(process.execPath, [join(root, 'scripts/build.mjs'), '--no-types'], {
    stdio: 'inherit',
  });
  if (build.status !== 0) throw new Error('the build failed');
}
