import { type LegacyVersion, legacyTraits, normalSerial } from './versions.js';

/**
 * Whom an agent trusts: the lines of a file, and what the running process read of them when it started
 * (legacy facts 2 and 3.6).
 */
export interface LegacyTrust {
  /** The file as it is now. */
  readonly lines: () => readonly string[];
  /** Reads the file, as a start or SIGHUP does. */
  load(): void;
  readonly empty: () => boolean;
  /** The dispatcher id of a serial as OpenSSL prints it; `''` where the file has none; undefined: not trusted. */
  idOf(serial: string): string | undefined;
  /** Writes `<serial> <id>`; before 0.9 the serial takes the place of the one there is. */
  add(serial: string, id: string): void;
  /** Adds under the id, taking the serial away from whomever has it, and normalises the file: what `/rotate-serial` does. */
  assign(serial: string, id: string): void;
  /** undefined, or the id of the other dispatcher that the serial belongs to, and then nothing is removed. */
  remove(serial: string, id: string | undefined): string | undefined;
}

const idPattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

function parseLine(line: string): readonly [serial: string, id: string] | undefined {
  const [serial = '', id = ''] = line.replace(/#.*/, '').trim().split(/\s+/);
  return /^[0-9A-Fa-f:]+$/.test(serial) && idPattern.test(id) ? [serial, id] : undefined;
}

/** 0.8: the first line, one serial, compared with the even number of digits that OpenSSL prints: `2` is not `02`. */
function singleSerial(initial: readonly string[]): LegacyTrust {
  let lines = initial;
  let loaded = '';
  const load = () => {
    const text = (lines[0] ?? '').replace(/\s+/g, '').toLowerCase();
    loaded = /^[0-9a-f]+$/.test(text) ? text : '';
  };
  const add = (serial: string) => {
    lines = [serial.toLowerCase()];
  };
  load();
  return {
    lines: () => lines,
    load,
    empty: () => loaded === '',
    idOf: (serial) => (loaded !== '' && serial === loaded ? '' : undefined),
    add,
    assign: add,
    remove: () => undefined,
  };
}

/** 0.9 and later: `<serial> <dispatcher_id>` a line, others skipped; read through `normalSerial`, like the live serial. */
function severalSerials(initial: readonly string[]): LegacyTrust {
  let lines = initial;
  let loaded = new Map<string, string>();
  const read = () =>
    new Map(
      lines.flatMap((line) => {
        const entry = parseLine(line);
        return entry ? [[normalSerial(entry[0]), entry[1]] as const] : [];
      }),
    );
  const write = (entries: ReadonlyMap<string, string>) => {
    lines = [...entries].sort().map(([serial, id]) => `${serial} ${id}`);
  };
  const load = () => {
    loaded = read();
  };
  load();
  return {
    lines: () => lines,
    load,
    empty: () => loaded.size === 0,
    idOf: (serial) => (serial === '' ? undefined : loaded.get(normalSerial(serial))),
    add(serial, id) {
      const text = serial.toLowerCase();
      lines = [...lines.filter((line) => parseLine(line)?.[0].toLowerCase() !== text), `${text} ${id}`];
    },
    assign: (serial, id) => write(read().set(normalSerial(serial), id)),
    remove(serial, id) {
      const entries = read();
      const owner = entries.get(normalSerial(serial));
      if (owner !== undefined && id !== undefined && owner !== id) return owner;
      entries.delete(normalSerial(serial));
      write(entries);
      return undefined;
    },
  };
}

/** The trust of an agent that starts with these lines in its file: `02` (0.8), `02 control` (0.9 and later). */
export const legacyTrust = (version: LegacyVersion, lines: readonly string[]): LegacyTrust =>
  legacyTraits[version].dispatcherIds ? severalSerials(lines) : singleSerial(lines);
