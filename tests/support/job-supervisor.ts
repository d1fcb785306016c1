import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';
import { afterAll } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** The program that watches over jobs, built as the package ships it, for the tests of one file. */
export function jobSupervisor(): string {
  const directory = mkdtempSync(join(tmpdir(), 'job-supervisor-'));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  const outfile = join(directory, 'job-supervisor.mjs');
  buildSync({
    absWorkingDir: root,
    entryPoints: ['src/adapters/child-process/job-supervisor.ts'],
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    minifySyntax: true,
    logLevel: 'error',
    outfile,
  });
  return outfile;
}
