import { err, ok, type Result } from 'neverthrow';
import { type JsonObject, textIn } from '../../domain/core/decode.js';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import { parseJsonObject } from '../../domain/core/json.js';
import { printable } from '../../domain/core/names.js';
import type { Answers, Endpoint, Reading } from './endpoint.js';

export type ReadingFailure = CtrlExecError<'refused' | 'protocol_violation'>;

const violation = (reason: string): ReadingFailure =>
  failure('protocol_violation', `the agent's answer is not understood: ${reason}`, { reason });

/** What a refusal means and what to do about it, where the agent's own words need that. */
const hints: ReadonlyMap<string, string> = new Map([
  ['serial mismatch', 'it does not trust this dispatcher certificate; pair it with this dispatcher'],
  ['forbidden', 'it does not trust this dispatcher certificate; pair it with this dispatcher'],
  ['certificate revoked', 'it holds the certificate of this dispatcher for revoked'],
  ['signature expired', 'its clock and the one of this host differ by more than 30 s'],
]);

/** What an agent has said against a request, in its own words. */
export function refusedBy(status: number, body: JsonObject): CtrlExecError<'refused'> {
  const reason = printable(textIn(body, 'error') ?? textIn(body, 'status') ?? `HTTP status ${status}`, 200);
  const hint = hints.get(reason) ?? printable(textIn(body, 'detail') ?? '', 300);
  return failure('refused', `refused by the agent: ${reason}${hint ? ` (${hint})` : ''}`, { status, reason });
}

/** The agent does not know who asks. */
export const isStranger = (error: CtrlExecError): boolean =>
  error.code === 'refused' && (error.reason === 'serial mismatch' || error.reason === 'forbidden');

/**
 * Which answer of the endpoint a body is, and what it says. A status that the endpoint does not have is a refusal.
 * @param parsed the object in the body, where it was read already
 */
export function readAnswer<R, A extends Answers>(
  { answers }: Endpoint<R, A>,
  request: R,
  { status, body }: { readonly status: number; readonly body: Uint8Array },
  parsed: Result<JsonObject, string> = parseJsonObject(body),
): Result<Reading<A>, ReadingFailure> {
  // Who refuses need not speak JSON.
  if (parsed.isErr() && isAnswer(answers, status)) return err(violation(parsed.error));
  return readOutcome(answers, request, status, parsed.unwrapOr({}));
}

/** The same of an object, wherever it stood. */
export function readOutcome<R, A extends Answers>(
  answers: A,
  request: R,
  status: number,
  body: JsonObject,
): Result<Reading<A>, ReadingFailure> {
  let reason: string | undefined;
  for (const [outcome, answer] of Object.entries(answers)) {
    if (answer.status !== status) continue;
    const read: Result<object, string> = answer.codec.read(body);
    if (read.isErr()) {
      reason ??= read.error;
      continue;
    }
    if (isAboutAnother(read.value, request)) return err(violation('it is about another request'));
    return ok({ outcome, ...read.value } as Reading<A>);
  }
  return err(isAnswer(answers, status) && reason ? violation(reason) : refusedBy(status, body));
}

/** Whether something was done, as far as the status goes. */
const isAnswer = (answers: Answers, status: number): boolean =>
  status < 300 && Object.values(answers).some((answer) => answer.status === status);

const isAboutAnother = (answer: { readonly reqid?: unknown }, request: unknown): boolean => {
  const { reqid } = request as { readonly reqid?: unknown };
  return (
    reqid !== undefined &&
    /* defence: answer-is-of-its-request */ answer.reqid !== undefined &&
    answer.reqid !== reqid
  );
};

/** Whether something was taken: it is `refused` in the agent's own words otherwise. */
export const acknowledgement = <A extends Answers>(
  { answers }: { readonly answers: A },
  answer: { readonly outcome: keyof A & string; readonly error?: string | undefined },
): Result<void, CtrlExecError<'refused'>> => {
  const { outcome, error } = answer;
  return outcome === 'ok' ? ok(undefined) : err(refusedBy(answers[outcome]?.status ?? 0, { error }));
};
