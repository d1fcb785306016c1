/** How long a source is known after a trusted dispatcher has come from it, in milliseconds. */
export const knownFor = 24 * 3_600_000;

/** So old must what is written be before it is written again. */
const writtenAgainAfter = 3_600_000;

const maxKnown = 256;

/**
 * The sources from which trusted dispatchers have come within a day. Times are epoch milliseconds: they are kept across
 * restarts. Only who holds a trusted certificate adds one.
 */
export interface KnownSources {
  /** Whether this is worth writing down: it was not known, or that was long ago. */
  note(source: string, now: number): boolean;
  has(source: string, now: number): boolean;
  /** As lines, `<source> <epoch milliseconds>`. */
  write(now: number): string;
}

/** @param text what was written before; lines that are none are passed over */
export function knownSources(text: string, now: number): KnownSources {
  const seen = new Map<string, { readonly at: number; readonly written: number }>();

  const forgetOld = (at: number) => {
    for (const [source, last] of seen) if (at - last.at >= knownFor) seen.delete(source);
  };

  for (const line of text.split('\n').slice(0, maxKnown)) {
    const [, source, digits] = /^(\S{1,100}) (\d{1,15})$/.exec(line) ?? [];
    // Written by a clock that was ahead: as if it were now.
    const at = Math.min(now, Number(digits));
    if (source !== undefined) seen.set(source, { at, written: at });
  }
  forgetOld(now);

  return {
    note(source, at) {
      const written = seen.get(source)?.written ?? Number.NEGATIVE_INFINITY;
      const write = Math.abs(at - written) >= writtenAgainAfter;
      seen.delete(source);
      seen.set(source, { at, written: write ? at : written });
      if (seen.size > maxKnown) forgetOld(at);
      for (const longest of [...seen.keys()].slice(0, Math.max(0, seen.size - maxKnown)))
        seen.delete(longest);
      return write;
    },
    has(source, at) {
      const last = seen.get(source);
      return last !== undefined && at - last.at < knownFor;
    },
    write(at) {
      forgetOld(at);
      return [...seen].map(([source, { at: last }]) => `${source} ${last}\n`).join('');
    },
  };
}
