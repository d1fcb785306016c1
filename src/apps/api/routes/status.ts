import { err, ok as fine, type Result, type ResultAsync } from 'neverthrow';
import { z } from 'zod';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import { isReqid, printable } from '../../../domain/core/names.js';
import { statusJson } from '../../json/hosts.js';
import { failureBody } from '../document/failure-schema.js';
import { hostResult, hostState, ok, reqid, reqidParams, seconds } from '../document/schemas.js';
import { type Call, route, success } from '../route.js';

export const exampleReqid = 'eab1731a91c588ee';

export const notFoundAnswer = {
  description: 'No record of this run, or none that the caller may know of: the two look the same.',
  schema: failureBody,
  examples: {
    unknown: { ok: false as const, error: 'not found', detail: `no result for reqid ${exampleReqid}` },
  },
};

interface Unknown {
  readonly status: 404;
  readonly body: { readonly ok: false; readonly error: string; readonly detail: string };
}

/** Whoever the hook refuses learns no more of a run than of one that never was. */
export const hidden = <T>(
  { params }: { readonly params: { readonly reqid: string } },
  outcome: ResultAsync<T, CtrlExecError>,
): ResultAsync<T | Unknown, CtrlExecError> =>
  outcome.orElse((error): Result<Unknown, CtrlExecError> => {
    const { code } = error;
    const unknown = code === 'run_unknown' || code === 'denied';
    if (!unknown && !(code === 'invalid_argument' && !isReqid(params.reqid))) return err(error);
    const detail = `no result for reqid ${printable(params.reqid, 80)}`;
    return fine({ status: 404, body: { ok: false, error: 'not found', detail } });
  });

const common = { ok, reqid, script: z.string() };

const syncStatus = z
  .object({
    ...common,
    mode: z.literal('sync'),
    complete: z.boolean().meta({ description: 'Nothing more is to be learnt of any host.' }),
    pending: z.array(z.string()).optional(),
    hosts: z.array(z.string()),
    completed: seconds('When it had ended.').optional(),
    results: z.array(hostResult),
  })
  .meta({ id: 'SyncRunStatus' });

const asyncStatus = z
  .object({
    ...common,
    mode: z.literal('async'),
    complete: z.boolean().meta({ description: 'Nothing more is to be learnt of any host.' }),
    pending: z.array(z.string()).meta({ description: 'Hosts of which something may still be learnt.' }),
    completed: seconds('When that was known.').optional(),
    hosts: z.record(z.string(), hostState),
  })
  .meta({ id: 'AsyncRunStatus' });

export const runStatus = z.union([syncStatus, asyncStatus]).meta({ id: 'RunStatus' });

export const statusExample = {
  ok: true as const,
  reqid: exampleReqid,
  script: 'backup',
  mode: 'async' as const,
  complete: false,
  pending: ['web-02'],
  hosts: {
    'web-01': { status: 'done' as const, state: 'succeeded' as const, exit: 0, stdout: 'done\n', stderr: '' },
    'web-02': { status: 'running' as const, state: 'running' as const },
  },
};

const statusAnswers = {
  200: {
    description: 'As recorded, and as agents say whose end was not known.',
    schema: runStatus,
    examples: { async: statusExample },
  },
  404: notFoundAnswer,
};

const statusOf = (call: Call<{ params: typeof reqidParams }>) =>
  hidden(
    call,
    call.dispatcher
      .status(call.params.reqid, { ...call.asking, signal: call.gone })
      .map((status) => success(200, statusJson(status, 'api'))),
  );

const status = {
  method: 'get',
  tag: 'running',
  permission: { action: 'status', askedBy: 'use case' },
  input: { params: reqidParams },
  examples: { one: { summary: 'One run', params: { reqid: exampleReqid } } },
  answers: statusAnswers,
  errors: ['identity_missing', 'store_failed'],
} as const;

export const legacyStatus = route({
  ...status,
  path: '/status/{reqid}',
  id: 'status',
  summary: 'How a run stands',
  handle: statusOf,
});

export const getRun = route({
  ...status,
  path: '/v1/runs/{reqid}',
  id: 'getRun',
  summary: 'How a run stands',
  handle: statusOf,
});
