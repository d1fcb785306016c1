import { it } from 'vitest';

/** A test of what only root can do; its title says so where it is skipped. */
export const asRoot = (title: string, body: () => Promise<void> | void, timeout?: number): void =>
  it.skipIf(process.geteuid?.() !== 0)(`${title} (needs root)`, body, timeout);
