import { type HttpAnswer, jsonAnswer } from '../../domain/protocol/http-message.js';
import { type Answers, type Outcome, type Refusal, refusals } from './endpoint.js';

/** A refusal as it travels. */
export const writeRefusal = ({ refused, error, status, detail, retryAfter }: Refusal): HttpAnswer =>
  jsonAnswer(
    refusals[refused],
    { error, status, detail },
    retryAfter === undefined ? [] : [['retry-after', String(retryAfter)]],
  );

/** An outcome as it travels. */
export function writeOutcome<A extends Answers>(answers: A, { outcome, ...said }: Outcome<A>): HttpAnswer {
  const answer = answers[outcome];
  if (!answer) throw new Error(`there is no outcome ${outcome}`);
  return jsonAnswer(answer.status, answer.codec.write(said));
}
