import { okAsync, type ResultAsync } from 'neverthrow';
import { decodeObject, integer, oneOf, optional, text } from '../../../domain/core/decode.js';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import { parseJsonObject } from '../../../domain/core/json.js';
import type { AgentSettings } from '../../../domain/settings/agent.js';
import type { AgentContext } from '../context.js';

/** How far a pairing has come that waits in the background, for `pairing-status`. */
export interface PairingReport {
  readonly state: 'waiting' | 'paired' | 'timed-out' | 'denied' | 'failed';
  /** Session id in hex. */
  readonly request: string;
  readonly code: string;
  /** Why it did not end well. */
  readonly reason?: string;
  /** The process that waits. */
  readonly pid: number;
}

const reportFile = (settings: AgentSettings): string => `${settings.stateDir}/pairing.json`;

const shape = {
  state: oneOf('waiting', 'paired', 'timed-out', 'denied', 'failed'),
  request: text(64),
  code: text(6),
  reason: optional(text(1000)),
  pid: integer(1, 2 ** 31),
};

export const writeReport = (
  { files }: AgentContext,
  settings: AgentSettings,
  report: PairingReport,
): ResultAsync<void, CtrlExecError<'file_failed'>> =>
  files
    .makeDirectory(settings.stateDir, 0o700)
    .andThen(() => files.replace(reportFile(settings), `${JSON.stringify(report)}\n`, 0o600));

/** The last background pairing; undefined when there was none, or its report cannot be read. */
export const readReport = (
  { files }: AgentContext,
  settings: AgentSettings,
): ResultAsync<PairingReport | undefined, never> =>
  files
    .readText(reportFile(settings), 65_536)
    .map((content) =>
      parseJsonObject(content ?? '')
        .andThen((object) => decodeObject(object, shape))
        .unwrapOr(undefined),
    )
    .orElse(() => okAsync(undefined));

/** What a failed pairing is called in a report. */
export function reportedEnd(error: CtrlExecError): Pick<PairingReport, 'state' | 'reason'> {
  const reason = error.message.slice(0, 1000);
  if (error.code === 'pairing_denied') return { state: 'denied', reason };
  if (error.code === 'pairing_expired' || error.code === 'timed_out') return { state: 'timed-out', reason };
  return { state: 'failed', reason };
}
