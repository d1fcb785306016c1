import { complain } from '../command-line.js';
import { moment } from './table.js';

/** Says which hosts that answered lack a revocation, one line each on standard error. */
export function warnOfPending(
  results: readonly { readonly host: string; readonly revocationsPendingSince?: number }[],
): void {
  for (const { host, revocationsPendingSince: since } of results)
    if (since !== undefined)
      complain(
        `warning: ${host}: revocations pending since ${moment(since)}: it may accept what was revoked`,
      );
}
