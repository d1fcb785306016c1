import type { Request } from 'express';
import { err, ok, type Result } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import type { Dispatcher } from '../../../sdk/dispatcher/dispatcher.js';
import { type Refusal, refusal, refusalOf } from '../answers/refusals.js';
import type { Call } from '../route.js';
import { type JsonObject, readBody } from './body.js';
import { callerOf } from './credentials.js';
import { isScrape } from './gate.js';

/** A request of somebody who may use the API at all. */
export interface Admitted {
  readonly dispatcher: Dispatcher;
  readonly asking: Call['asking'];
  readonly body: JsonObject | undefined;
  /** An error of this caller's as HTTP has it. */
  readonly refusalOf: (error: CtrlExecError) => Refusal;
}

/** The hook was not asked: no credentials would change it. */
export const crossOrigin = refusal('crossOrigin', 'requests of other sites are not answered');

/**
 * Whether a browser has sent it for a page of another site: such a page can have it sent with what the browser knows of its
 * user, or where nobody is asked for credentials, and needs no answer to do harm. A link to the page of the API is none.
 */
function isCrossOrigin({ headers, method, path }: Request): boolean {
  const { origin, host } = headers;
  const site = headers['sec-fetch-site'];
  if (site === 'same-origin' || site === 'none') return false;
  if (site !== undefined)
    return !(method === 'GET' && path === '/docs' && headers['sec-fetch-mode'] === 'navigate');
  return origin !== undefined && origin.replace(/^https?:\/\//, '').toLowerCase() !== host?.toLowerCase();
}

/**
 * Reads the body, for it may hold credentials, and asks the hook whether the caller may use the API. Before it has said yes
 * a caller learns nothing but that its body is no JSON, too large or too slow. That of `GET /metrics` is not read.
 * @param within milliseconds for the body
 */
export async function admit(
  request: Request,
  dispatcher: Dispatcher,
  within: number,
): Promise<Result<Admitted, Refusal>> {
  if (isCrossOrigin(request)) return err(crossOrigin);
  const body = isScrape(request) ? ok(undefined) : await readBody(request, within);
  if (body.isErr()) return err(body.error);
  const configured = await dispatcher.configuration();
  if (configured.isErr()) return err(failed(configured.error));
  const { apiAuthDefault, authDenyGeneric } = configured.value.settings;
  const asking = { caller: callerOf(request, body.value), withoutHook: apiAuthDefault };
  const permitted = await dispatcher.authorise({ action: 'api' }, asking);
  if (permitted.isErr())
    return err(
      permitted.error.code === 'denied'
        ? refusalOf(permitted.error, authDenyGeneric)
        : failed(permitted.error),
    );
  return ok({
    dispatcher,
    asking,
    body: body.value,
    refusalOf: (error) => refusalOf(error, authDenyGeneric),
  });
}

/** What has no more to say: to somebody who is not known, or about a bug. */
export const internal = refusal('internal');

/** Likewise; the log has why. */
const failed = ({ message }: CtrlExecError): Refusal => ({ ...internal, reason: message });
