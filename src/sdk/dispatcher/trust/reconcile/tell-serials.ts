import { err, errAsync, ok, okAsync, type Result, type ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../../domain/core/errors.js';
import { printable } from '../../../../domain/core/names.js';
import { maxRunAnswer, type RunAnswer, readRunAnswer } from '../../../../domain/protocol/agent-protocol.js';
import { chainTo, successionToJson } from '../../../../domain/trust/succession.js';
import type { DispatcherContext } from '../../context.js';
import { type ContactError, freshReqid, sendSigned } from '../agent-request.js';
import { target } from '../agent-target.js';
import type { DispatcherIdentity, Presence } from '../identity.js';
import { type Known, note, type Told, tell } from './tell.js';

/** A serial of this dispatcher, and the certificate that it belongs to as far as that is to be known. */
export interface SerialChange {
  readonly serial: string;
  readonly action: 'add' | 'remove';
  readonly pem?: string;
  /** Of a removal: the records that lead from the serial to the one that asks. */
  readonly succession?: readonly object[];
}

export const addSerial = ({ certificate: { serial, pem } }: Presence): SerialChange => ({
  serial,
  action: 'add',
  pem,
});

/** The agent's words where its disk is full, say: it is asked again. */
const notStored = 'the agent could not store it';

/**
 * Has an agent retire a serial of this dispatcher, with the proof that the one that asks follows it. An agent that does not take
 * the proof goes on trusting the serial: that is logged, and not asked again.
 */
export function retireSerial(
  context: DispatcherContext,
  presence: Presence,
  identity: DispatcherIdentity,
  agent: Known,
  serial: string,
): Told {
  const line = chainTo(identity.rotation.successions, new Set([serial]), presence.certificate.serial);
  const proof = line && line.length > 0 && { succession: line.map(successionToJson) };
  return tellSerial(context, presence, identity, agent, { serial, action: 'remove', ...proof })
    .orElse((error) => {
      if (error.code !== 'refused' || error.status !== 200 || error.reason === notStored)
        return errAsync(error);
      const { name: host } = agent.record;
      context.events.emit({
        action: 'serial-kept',
        level: 'warning',
        fields: { host, serial, reason: error.reason },
      });
      return ok(undefined);
    })
    .andThen(() => note(context, agent, { retired: [serial] }));
}

/** The script by which agents older than 0.11 are told a serial (wire-protocol 1.2). */
const serialScript = 'update-ctrl-exec-serial';

/** Milliseconds that the script may take. */
const scriptTimeout = 30_000;

/** Trusts or retires a serial at an agent, as the identity that it trusts. */
export function tellSerial(
  context: DispatcherContext,
  presence: Presence,
  identity: DispatcherIdentity,
  agent: Known,
  change: SerialChange,
): Told {
  const legacy = agent.record.standing.speaks !== 'signed';
  return tell(context, presence, identity, agent, '/rotate-serial', change).orElse((error) => {
    const unknown = legacy && change.action === 'add' && error.code === 'refused' && error.status === 404;
    if (!unknown) return errAsync(error);
    const { serial } = change;
    const run = (args: readonly string[]) => runSerialScript(context, presence, identity, agent, args);
    return run([serial, context.settings.dispatcherId])
      .andThen((ended) => (ended.exit === usageError ? run([serial]) : okAsync(ended)))
      .andThen(judged);
  });
}

/** The exit code by which the script of 0.8 says that it takes one argument. */
const usageError = 1;
/** The serial is stored, and nobody was there to be told. */
const notReloaded = 3;

function judged({ exit, error, stderr }: RunAnswer): Result<void, CtrlExecError<'refused'>> {
  // Stored, but nobody was there to be told to take it into use: the next start does.
  if (exit === 0 || exit === notReloaded) return ok(undefined);
  const why = error ?? (stderr.trim().split('\n')[0] || `exit ${exit}`);
  const reason = printable(`${serialScript}: ${why}`, 200);
  const hint = `an agent older than 0.11 needs ${serialScript} in its scripts.conf`;
  return err(failure('refused', `refused by the agent: ${reason} (${hint})`, { status: 200, reason }));
}

function runSerialScript(
  context: DispatcherContext,
  presence: Presence,
  { cas }: DispatcherIdentity,
  agent: Known,
  args: readonly string[],
): ResultAsync<RunAnswer, ContactError> {
  const { signal } = agent;
  const reqid = freshReqid(context);
  return sendSigned(context, presence, target(context, presence, cas, agent), {
    method: 'POST',
    path: '/run',
    body: { script: serialScript, args, reqid, username: '', token: '' },
    answerTimeout: scriptTimeout,
    maxAnswer: maxRunAnswer,
    ...(signal && { signal }),
  }).andThen(({ status, body }) => readRunAnswer(status, body, reqid));
}
