import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { printable } from '../../../domain/core/names.js';
import type { AgentSettings } from '../../../domain/settings/agent.js';
import { serialReadings } from '../../../domain/trust/serial.js';
import type { AgentContext } from '../context.js';
import { loadTrust } from './trust.js';
import { isProven, readTrustLines, trustItems, withLine, writeTrustLines } from './trust-lines.js';

/** A dispatcher serial of an agent's trust file. */
export interface TrustedSerial {
  /** Canonical. */
  readonly serial: string;
  /** `legacy`: the file says none. */
  readonly dispatcherId: string;
  /** `orphaned`: the serial that brought it is revoked, and nothing proves it, so that it is not trusted any more. */
  readonly state: 'trusted' | 'revoked' | 'orphaned';
  /** Whether it has shown a certificate that names this dispatcher. */
  readonly proven: boolean;
  /** Whether its requests must be signed: its certificate has signed one, or was announced by one that signs. */
  readonly mustSign: boolean;
  /** The serial whose request brought it; undefined: a person wrote it, or a pairing brought it. */
  readonly broughtBy: string | undefined;
}

/** Every line of the trust file, in its order. */
export const trustedSerials = (
  context: AgentContext,
  settings: AgentSettings,
): ResultAsync<readonly TrustedSerial[], CtrlExecError> =>
  loadTrust(context, settings).map(({ trust }) =>
    [...trust.lines].map(([serial, dispatcherId]) => ({
      serial,
      dispatcherId,
      state: trust.revoked.has(serial) ? 'revoked' : trust.trust.has(serial) ? 'trusted' : 'orphaned',
      proven: isProven(trust, serial),
      mustSign: trust.dispatchers.has(serial),
      broughtBy: trust.origins.get(serial),
    })),
  );

/**
 * Makes a line of the trust file a person's own: which serial brought it is forgotten.
 * @param written the serial, in any form that people write
 * @param change `keep`: nothing else. `unsigned`: its certificate is forgotten, too, so that its requests need no signature until
 *   it signs again
 */
export function changeSerial(
  context: AgentContext,
  settings: AgentSettings,
  written: string,
  change: 'keep' | 'unsigned',
): ResultAsync<void, CtrlExecError> {
  const keyStore = context.keyStore(settings);
  return safeTry<void, CtrlExecError>(async function* () {
    const stored = readTrustLines(context, yield* keyStore.read(trustItems));
    const serial = serialReadings(written).find((reading) => stored.lines.has(reading));
    const id = serial && stored.lines.get(serial);
    if (serial === undefined || id === undefined)
      return err(
        failure(
          'invalid_argument',
          `"${printable(written, 80)}" is no serial that is trusted here: see ctrl-exec-agent trust`,
          { field: 'serial', reason: 'not trusted here' },
        ),
      );
    const { dispatchers, ...own } = withLine(stored, serial, id, { broughtBy: undefined });
    const kept = [...dispatchers].filter(([of]) => change === 'keep' || of !== serial);
    yield* keyStore.replace(writeTrustLines({ ...own, dispatchers: new Map(kept) }));
    return ok(undefined);
  });
}
