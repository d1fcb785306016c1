import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { buildSync } from 'esbuild';
import { afterAll, onTestFinished } from 'vitest';

export interface Running {
  readonly process: ChildProcess;
  /** The next line of its report; throws what it said on standard error when it ended instead. */
  next(): Promise<unknown>;
  ended(): Promise<void>;
}

/** Builds `child.ts` for plain Node; the returned function starts it. */
export function buildChild(): (command: string, directory: string, name?: string, count?: number) => Running {
  const place = mkdtempSync(join(tmpdir(), 'ctrl-exec-child-'));
  afterAll(() => rmSync(place, { recursive: true, force: true }));
  const modules = fileURLToPath(new URL('../../../../../node_modules', import.meta.url));
  symlinkSync(modules, join(place, 'node_modules'));
  const program = join(place, 'child.mjs');
  buildSync({
    entryPoints: [fileURLToPath(new URL('./child.ts', import.meta.url))],
    outfile: program,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    external: ['libsql'],
    logLevel: 'error',
  });

  return (command, directory, name = 'a', count = 0) => {
    const child = spawn(process.execPath, [program, command, directory, name, String(count)]);
    const exit = once(child, 'close');
    onTestFinished(async () => {
      child.kill('SIGKILL');
      await exit;
    });
    let complaint = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      complaint += text;
    });
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    return {
      process: child,
      next: async () => {
        const { done, value } = await lines.next();
        if (done !== true) return JSON.parse(value) as unknown;
        await exit;
        throw new Error(`the child ended: ${complaint}`);
      },
      ended: async () => {
        await exit;
      },
    };
  };
}
