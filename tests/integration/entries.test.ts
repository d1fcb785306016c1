import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const probe = join(root, 'tests/support/import-probe/probe.mjs');
const { name, exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const entries = Object.keys(exports)
  .filter((entry) => entry !== './package.json')
  .map((entry) => entry.replace('.', name));

interface Imported {
  readonly exports: readonly string[];
  readonly changes: readonly string[];
  /** Packages of which a file was loaded, sorted. */
  readonly packages: readonly string[];
  readonly stderr: string;
  readonly code: number | null;
}

/** Imports it in a process of its own, which has to end by itself. */
async function imported(specifier: string): Promise<Imported> {
  const child = spawn(process.execPath, [probe, specifier], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'] ?? '' },
  });
  const said = async (stream: unknown) => {
    let text = '';
    for await (const piece of (stream as Readable).setEncoding('utf8')) text += piece;
    return text;
  };
  const code = new Promise<number | null>((resolve) => child.once('close', resolve));
  const [stdout, stderr, resolved] = await Promise.all(
    [child.stdout, child.stderr, child.stdio[3]].map(said),
  );
  // The probe's own line is all that may be there.
  const { required, ...seen } = JSON.parse(stdout ?? '');
  const files = [...required, ...(resolved ?? '').split('\n')];
  const packages = files.flatMap((file) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? []);
  return { ...seen, packages: [...new Set(packages)].sort(), stderr: stderr ?? '', code: await code };
}

// The suites bring a test runner along, which is for tests.
const quiet = entries.filter((entry) => entry !== 'ctrl-exec/testing');

describe('importing an entry', () => {
  it.each(quiet)('%s says nothing, changes nothing and leaves nothing open', async (entry) => {
    const { changes, stderr, code } = await imported(entry);
    // zod keeps one registry for all of its copies.
    const own = changes.filter((each) => !/^globalThis: \+__zod_/.test(each));
    expect({ own, stderr, code }).toEqual({ own: [], stderr: '', code: 0 });
    if (entry !== 'ctrl-exec/express') expect(changes).toEqual([]);
  });
});
