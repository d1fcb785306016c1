import { vi } from 'vitest';

/** What is written to standard output and standard error meanwhile. */
export async function printed<T>(work: () => T | Promise<T>) {
  const written = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
  const spies = (['stdout', 'stderr'] as const).map((stream) =>
    vi.spyOn(process[stream], 'write').mockImplementation((chunk, ...rest: unknown[]) => {
      written[stream].push(Buffer.from(chunk));
      for (const taken of rest) if (typeof taken === 'function') taken();
      return true;
    }),
  );
  try {
    const value = await work();
    const bytes = Buffer.concat(written.stdout);
    return { value, bytes, stdout: bytes.toString(), stderr: Buffer.concat(written.stderr).toString() };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}
