import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { bundle } from '../commands/bundle.js';

/** The program that watches over jobs, built as the package ships it, for the tests of one file. */
export function jobSupervisor(): string {
  const directory = mkdtempSync(join(tmpdir(), 'job-supervisor-'));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  const target = join(directory, 'job-supervisor.mjs');
  bundle('src/adapters/child-process/job-supervisor.ts', target);
  return target;
}
