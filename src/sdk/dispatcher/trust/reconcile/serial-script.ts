import { err, ok, type Result, type ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../../domain/core/errors.js';
import { printable } from '../../../../domain/core/names.js';
import type { CallError } from '../../../protocol/client.js';
import { run } from '../../../protocol/endpoints.js';
import type { DispatcherContext } from '../../context.js';
import { ask, freshReqid } from '../ask.js';
import type { AskedBy, Known } from '../destination.js';

/** The script by which agents older than 0.11 are told a serial. */
const serialScript = 'update-ctrl-exec-serial';

/** Milliseconds that the script may take. */
const scriptTimeout = 30_000;

/** The exit code by which the script of 0.8 says that it takes one argument. */
const usageError = 1;
/** The serial is stored, and nobody was there to be told to take it into use: the next start does. */
const notReloaded = 3;

/** Has an agent trust a serial by the script that is there for it. */
export function addByScript(
  context: DispatcherContext,
  by: AskedBy,
  agent: Known,
  serial: string,
): ResultAsync<void, CallError> {
  const request = { script: serialScript, username: '', token: '' };
  const runs = (args: readonly string[]) =>
    ask(
      context,
      by,
      agent,
      run,
      { ...request, args, reqid: freshReqid(context) },
      { answerTimeout: scriptTimeout },
    );
  return runs([serial, context.settings.dispatcherId])
    .andThen((called) => (exitOf(called.answer) === usageError ? runs([serial]) : ok(called)))
    .andThen(({ answer }) => judged(answer));
}

type Ended = { readonly outcome: string; readonly error?: string | undefined } & Partial<
  Record<'result', { readonly exit: number; readonly error?: string; readonly stderr: string }>
>;

const exitOf = ({ result }: Ended): number | undefined => result?.exit;

function judged({ result, error, outcome }: Ended): Result<void, CtrlExecError<'refused'>> {
  if (result?.exit === 0 || result?.exit === notReloaded) return ok(undefined);
  const said = result ? (result.stderr.trim().split('\n')[0] ?? '') : '';
  const why = result?.error ?? error ?? (said || (result ? `exit ${result.exit}` : outcome));
  const reason = printable(`${serialScript}: ${why}`, 200);
  const hint = `an agent older than 0.11 needs ${serialScript} in its scripts.conf`;
  return err(failure('refused', `refused by the agent: ${reason} (${hint})`, { status: 200, reason }));
}
