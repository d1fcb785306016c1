import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

/** Of the repository. */
export const root = fileURLToPath(new URL('../../../', import.meta.url));
const probe = join(root, 'tests/support/import-probe/probe.mjs');

interface Imported {
  readonly exports: readonly string[];
  readonly changes: readonly string[];
  /** Packages of which a file was loaded, sorted. */
  readonly packages: readonly string[];
  readonly stderr: string;
  readonly code: number | null;
}

/** Imports it in a process of its own, which has to end by itself. */
export async function imported(specifier: string): Promise<Imported> {
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
