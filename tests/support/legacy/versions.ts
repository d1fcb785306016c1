/**
 * Stages of the deployed protocol. `0.8` is the early one that was captured (0.8.4), `0.9` is 0.9.1 and later.
 */
export type LegacyVersion = '0.8' | '0.9' | '0.11' | '0.12';

interface LegacyTraits {
  /** What it calls its version. */
  readonly reported: string;
  /** Its trust file names dispatchers, and several may be trusted; serials are compared as `normalSerial` makes them. */
  readonly dispatcherIds: boolean;
  /** It runs async, and has `/result`. */
  readonly async: boolean;
  /** It has `/rotate-serial`; before, dispatchers run the script `update-ctrl-exec-serial`. */
  readonly rotateRoute: boolean;
  /** It lists profiles of scripts. */
  readonly profiles: boolean;
  /** It has `/renew` and `/renew-complete`. */
  readonly renewal: boolean;
  /** As a pairing client it looks whether the port is open first, and tells `port` and `ip`. */
  readonly preflight: boolean;
}

/** What each version can do (legacy facts 3.5, 0.5, 0.14). */
export const legacyTraits: Readonly<Record<LegacyVersion, LegacyTraits>> = {
  '0.8': {
    reported: '0.8.4',
    dispatcherIds: false,
    async: false,
    rotateRoute: false,
    profiles: false,
    renewal: false,
    preflight: false,
  },
  '0.9': {
    reported: '0.9.2',
    dispatcherIds: true,
    async: true,
    rotateRoute: false,
    profiles: false,
    renewal: false,
    preflight: true,
  },
  '0.11': {
    reported: '0.11.0',
    dispatcherIds: true,
    async: true,
    rotateRoute: true,
    profiles: true,
    renewal: false,
    preflight: true,
  },
  '0.12': {
    reported: '0.12.2',
    dispatcherIds: true,
    async: true,
    rotateRoute: true,
    profiles: true,
    renewal: true,
    preflight: true,
  },
};

/**
 * The form in which 0.9 and later compare and send serials (legacy facts 3.6): digits alone are taken for decimal and
 * turned into hex, so the hex serial `10` becomes `a` and `16` becomes `10`; what has a letter loses leading zeros.
 */
export function normalSerial(serial: string): string {
  const text = serial
    .trim()
    .toLowerCase()
    .replace(/^(0x|serial=)/, '')
    .replaceAll(':', '');
  if (/^[0-9]+$/.test(text)) return BigInt(text).toString(16);
  return text.replace(/^0+/, '');
}
