import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import type { ProcessRequest } from '../../../../src/ports/process-runner.js';

/** A directory for the tests of one file, removed after them, and what puts executables into it. */
export const scriptDirectory = () => {
  const directory = mkdtempSync(join(tmpdir(), 'ctrl-exec-test-'));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  let count = 0;
  const file = (content: string, mode = 0o755): string => {
    count += 1;
    const path = join(directory, `script-${count}`);
    writeFileSync(path, content, { mode });
    return path;
  };
  return {
    directory,
    file,
    shell: (body: string): string => file(`#!/bin/sh\n${body}\n`),
    node: (body: string): string => file(`#!${process.execPath}\n${body}\n`),
  };
};

export const processRequest = (path: string, changes: Partial<ProcessRequest> = {}): ProcessRequest => ({
  path,
  args: [],
  stdin: new Uint8Array(),
  env: { PATH: '/usr/local/bin:/usr/bin:/bin' },
  stdinTimeout: 10_000,
  timeout: 0,
  maxOutput: 16 * 1024 * 1024,
  ...changes,
});

export const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** Resolves as soon as `holds`; rejects after ten seconds. */
export const eventually = async (holds: () => boolean): Promise<void> => {
  const deadline = performance.now() + 10_000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error('it did not come about');
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
};

export const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};
