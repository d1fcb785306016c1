import { readFileSync } from 'node:fs';

/** What changes when the machine is started anew: Linux' boot id; undefined: cannot be known. */
export function systemBootId(): string | undefined {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** Milliseconds on a clock that all processes of one boot share. */
export const sinceBoot = (): number => Number(process.hrtime.bigint() / 1_000_000n);
