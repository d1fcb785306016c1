// The soak: builds the package, then everything at once for some minutes, then everything must be gone again.
//   npm run soak -- [--minutes 10] [--seed N]
// Exit 0 if nothing unexpected happened and all levels are back, else 1. See docs/reliability.md.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const built = spawnSync(process.execPath, [join(root, 'scripts/build.mjs'), '--no-types'], {
  stdio: 'inherit',
});
if (built.status !== 0) process.exit(1);

// Beside the sources, so that packages are found.
const directory = mkdtempSync(join(root, '.dist-soak-'));
try {
  await build({
    entryPoints: {
      soak: join(root, 'tests/full/soak.ts'),
      hostile: join(root, 'tests/support/soak/hostile-main.ts'),
    },
    outdir: directory,
    outExtension: { '.js': '.mjs' },
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    logLevel: 'warning',
  });
  const places = ['--root', root, '--hostile', join(directory, 'hostile.mjs')];
  const line = ['--expose-gc', join(directory, 'soak.mjs'), ...process.argv.slice(2), ...places];
  const child = spawn(process.execPath, line, { stdio: 'inherit' });
  // It cleans up first; a Ctrl-C has reached it already.
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => child.kill());
  const [code] = await once(child, 'close');
  process.exitCode = code ?? 1;
} finally {
  rmSync(directory, { recursive: true, force: true });
}
