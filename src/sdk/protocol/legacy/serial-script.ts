import { type JsonObject, textIn } from '../../../domain/core/decode.js';
import { serialChange } from '../../../domain/protocol/agent-messages.js';
import { endedRun, type WrittenResult } from '../../../domain/protocol/run-messages.js';
import type { Call, Caller, Handlers, ServerTrust } from '../handler.js';

/** The script by which dispatchers older than 0.11 announce their next serial. */
const serialScript = 'update-ctrl-exec-serial';

/**
 * A legacy dispatcher that changes its serials by the script does here what it would do by `/rotate-serial`: under its own
 * identity, whatever the script would have been told; the hook is asked as for a run, the allowlist is not. Undefined: that is
 * not what it asks for.
 */
export async function announceSerial(
  trust: Pick<ServerTrust, 'whyNotAnnounced'>,
  { serials }: Pick<Handlers, 'serials'>,
  caller: Caller,
  body: JsonObject,
  call: Call,
): Promise<JsonObject | undefined> {
  if (body['script'] !== serialScript) return undefined;
  const given = body['args'];
  const args: readonly unknown[] = Array.isArray(given) ? given : [];
  const [first, second] = args;
  const isRemoval = first === '--remove';
  const change = isRemoval ? { action: 'remove', serial: second } : { action: 'add', serial: first };
  const reqid = textIn(body, 'reqid')?.slice(0, 64);
  const told = (result: WrittenResult) => endedRun.write({ script: serialScript, reqid, result });
  const why = await trust.whyNotAnnounced(caller, {
    script: serialScript,
    args: args.filter((word) => typeof word === 'string'),
    username: textIn(body, 'username') ?? '',
    token: textIn(body, 'token') ?? '',
  });
  if (why !== undefined) return told({ exit: -1, error: `not authorised: ${why}` });
  const read = serialChange.read(change);
  if (read.isErr()) return told({ exit: 2, stdout: '', stderr: `${read.error}\n` });
  const outcome = await serials(caller, read.value, call);
  const error = 'error' in outcome ? `${outcome.error}\n` : '';
  return told({ exit: error === '' ? 0 : 2, stdout: '', stderr: error });
}
