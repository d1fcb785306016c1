import { parseJsonObject } from '../../domain/core/json.js';
import { maxLegacyAnswer } from '../../domain/legacy/answer.js';
import { type HttpAnswer, jsonAnswer } from '../../domain/protocol/http-message.js';
import type { IncomingRequest } from '../../ports/listener.js';
import { isUnsigned } from '../protocol/message-signing.js';
import type { AgentContext } from './context.js';
import { authoriseRun } from './runs/run-script.js';
import type { Served } from './served.js';
import type { AgentState } from './state.js';
import { rotateSerial } from './trust/dispatcher-serials.js';
import type { CallingDispatcher } from './trust/recognise.js';

/** What a legacy dispatcher may ask for without a signature (wire-protocol 1.2). */
const legacyRoutes = [
  /^POST \/(run|ping|rotate-serial|renew|renew-complete)$/,
  /^GET \/(capabilities|result\/[A-Za-z0-9_-]+)$/,
];

/**
 * Why a request without a signature is not served; undefined: it may be (wire-protocol 2.3). Its caller is a dispatcher that is
 * trusted by its serial, whose certificate has never signed anything, and an operator has said that there are such.
 * @param signing serials that have signed a request although that could not be stored
 */
export function whyNotUnsigned(
  { dispatchers, settings }: Pick<AgentState, 'dispatchers' | 'settings'>,
  signing: ReadonlySet<string>,
  { serial }: Pick<CallingDispatcher, 'serial'>,
  request: Pick<IncomingRequest, 'method' | 'path' | 'headers'>,
): string | undefined {
  if (!isUnsigned(request)) return 'it has a signature';
  if (!settings.acceptLegacyDispatchers) return 'accept_legacy_dispatchers is off';
  // defence: dispatcher-that-signed-must-sign
  if (dispatchers.has(serial) || signing.has(serial))
    return `serial ${serial} signs its requests; if that has ended: ctrl-exec-agent trust --unsigned ${serial}`;
  const route = `${request.method} ${request.path}`;
  return legacyRoutes.some((form) => form.test(route))
    ? undefined
    : /* defence: unsigned-asks-legacy-routes-only */ 'only ours ask for this';
}

/** The script by which dispatchers older than 0.11 announce their next serial. */
const serialScript = 'update-ctrl-exec-serial';

/**
 * A legacy dispatcher that changes its serials by the script does here what it would do by `/rotate-serial`: under its own
 * identity, whatever the script would have been told; the hook is asked as for a run, the allowlist is not. Undefined: that is
 * not what it asks for.
 */
export async function serialsByScript(
  context: AgentContext,
  served: Served,
  caller: CallingDispatcher,
  body: Uint8Array,
): Promise<HttpAnswer | undefined> {
  const { settings } = served.current().state;
  const parsed = parseJsonObject(body);
  if (parsed.isErr() || parsed.value['script'] !== serialScript) return undefined;
  const { args, reqid, username, token } = parsed.value;
  const [first, second] = Array.isArray(args) ? (args as readonly unknown[]) : [];
  const change =
    first === '--remove' ? { action: 'remove', serial: second } : { action: 'add', serial: first };
  const words = Array.isArray(args) ? args.filter((word): word is string => typeof word === 'string') : [];
  const text = (value: unknown) => (typeof value === 'string' ? value : '');
  const verdict = await authoriseRun(context, settings, caller, {
    script: serialScript,
    args: words,
    username: text(username),
    token: text(token),
  });
  if (!verdict.allowed)
    return jsonAnswer(200, {
      script: serialScript,
      exit: -1,
      error: `not authorised: ${verdict.reason}`,
      ...(typeof reqid === 'string' && { reqid: reqid.slice(0, 64) }),
    });
  const answer = await rotateSerial(
    context,
    served,
    caller,
    new TextEncoder().encode(JSON.stringify(change)),
  );
  const outcome = parseJsonObject(answer.body);
  const { status, error } = outcome.isOk() ? outcome.value : {};
  return jsonAnswer(200, {
    script: serialScript,
    exit: status === 'ok' ? 0 : 2,
    stdout: '',
    stderr: typeof error === 'string' ? `${error}\n` : '',
    ...(typeof reqid === 'string' && { reqid: reqid.slice(0, 64) }),
  });
}

/** Without schemas, where with them it would be more than a legacy dispatcher can take; if it still is, it gets nothing. */
export function fittedCapabilities(answer: HttpAnswer): HttpAnswer {
  if (answer.body.length <= maxLegacyAnswer) return answer;
  const parsed = parseJsonObject(answer.body);
  const scripts = parsed.isOk() ? parsed.value['scripts'] : undefined;
  if (parsed.isErr() || !Array.isArray(scripts)) return answer;
  const bare = scripts.map((script: Readonly<Record<string, unknown>>) => {
    const { schema: _, schema_version: __, ...others } = script;
    return others;
  });
  const fitted = jsonAnswer(answer.status, { ...parsed.value, scripts: bare });
  const tooMuch = `more than ${maxLegacyAnswer} bytes: more scripts than a legacy dispatcher can take`;
  return fitted.body.length <= maxLegacyAnswer ? fitted : jsonAnswer(413, { error: tooMuch });
}
