import { err, errAsync, ok } from 'neverthrow';
import { z } from 'zod';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import { credentials, reqidParams } from '../document/schemas.js';
import { type Call, route } from '../route.js';
import { asyncSwitch, finished, idempotencyKey, once, runAnswers, submitted } from './run.js';
import { exampleReqid, hidden, notFoundAnswer } from './status.js';

export const retryRun = route({
  method: 'post',
  path: '/v1/runs/{reqid}/retry',
  id: 'retryRun',
  tag: 'running',
  summary: 'Run a script again on the hosts where it failed',
  description: 'With the same arguments, under a new id. Hosts where it ended with 0 are left alone.',
  permission: { action: 'run', before: 'status', askedBy: 'use case' },
  input: {
    params: reqidParams,
    headers: idempotencyKey,
    body: z.object({
      timeout: z.int().min(1).max(604_800).optional().meta({ description: 'Seconds.' }),
      async: asyncSwitch,
      ...credentials,
    }),
  },
  examples: { one: { summary: 'The hosts that failed', params: { reqid: exampleReqid }, body: {} } },
  answers: { 200: runAnswers[200], 202: runAnswers[202], 404: notFoundAnswer },
  errors: [
    'invalid_argument',
    'not_ready',
    'locked',
    'idempotency_mismatch',
    'identity_missing',
    'store_failed',
  ],
  handle: (call) => {
    const { dispatcher, asking, params, body } = call;
    const key = call.headers['idempotency-key'];
    const options = {
      ...asking,
      ...(body.timeout !== undefined && { timeout: body.timeout }),
      ...once(call, key),
    };
    if (body.async) {
      const taken = dispatcher.retry(params.reqid, { ...options, async: true });
      return submitted(taken).orElse((error) => refused(call, error));
    }
    return finished(dispatcher.retry(params.reqid, options)).orElse((error) => refused(call, error));
  },
});

/** Whoever may know of the run, but not run it, is told so. */
const refused = (
  call: Pick<Call<{ params: typeof reqidParams }>, 'dispatcher' | 'asking' | 'params'>,
  error: CtrlExecError,
) => {
  const { dispatcher, asking, params } = call;
  if (error.code !== 'denied') return hidden<never>(call, errAsync(error));
  const known = dispatcher.status(params.reqid, asking).map(() => undefined);
  return hidden(call, known).andThen((reply) => (reply ? ok(reply) : err(error)));
};
