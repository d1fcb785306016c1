import { err, ok, type Result } from 'neverthrow';
import { failure } from '../../domain/core/errors.js';
import { printable } from '../../domain/core/names.js';
import type { ControlPlaneRequest } from '../../domain/deploy/control-plane-api.js';
import type { ControlPlaneRefusal } from '../../ports/control-plane.js';

/** What is told of an answer's body; all of it may be of any size. */
const maxReason = 300;

/** What to do about a refusal whatever it is of. */
const hints: ReadonlyMap<number, string> = new Map([
  [401, 'it does not accept the API key (CERTCTL_API_KEY): give the agent one that is valid'],
  [403, 'the role of the API key (CERTCTL_API_KEY) does not permit this call'],
]);

const refusals: ReadonlyMap<number, ControlPlaneRefusal['why']> = new Map([
  [410, 'retired'],
  [403, 'forbidden'],
  [413, 'too_much'],
]);

/** What a complete answer of the control plane says to a request: the body, where it succeeded. */
export function readAnswer(
  { later }: ControlPlaneRequest,
  { status, body }: { readonly status: number; readonly body: Uint8Array },
): Result<Uint8Array, ControlPlaneRefusal> {
  const expected = later ? 202 : 200;
  if (status === expected) return ok(body);
  const said = printable(new TextDecoder().decode(body.subarray(0, 4 * maxReason)).trim(), maxReason);
  const reason = said === '' ? `status ${status} instead of ${expected}` : said;
  const hint = hints.get(status);
  const message = `the control plane answered with status ${status}${said === '' ? '' : `: ${said}`}${hint === undefined ? '' : `; ${hint}`}`;
  const isBusy = status >= 500 || status === 429;
  const why = isBusy ? 'busy' : (refusals.get(status) ?? 'other');
  return err({ ...failure('refused', message, { status, reason }), why });
}
