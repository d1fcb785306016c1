import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));

/** Bundles a TypeScript file (its path from the repository) into one that Node runs. Leaves no process behind. */
export function bundle(source: string, target: string): void {
  const options = ['--bundle', '--format=esm', '--platform=node', '--target=node20.19', '--log-level=error'];
  const esbuild = `${root}node_modules/.bin/esbuild`;
  execFileSync(esbuild, [source, ...options, `--outfile=${target}`], { cwd: root });
}
