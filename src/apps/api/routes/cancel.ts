import { z } from 'zod';
import { withRtt } from '../../json/hosts.js';
import { credentials, hostList, ok, reqid, reqidParams, rtt } from '../document/schemas.js';
import { route, success } from '../route.js';
import { exampleReqid, hidden, notFoundAnswer } from './status.js';

const cancelled = z
  .object({
    host: z.string(),
    status: z.enum(['cancelling', 'done', 'unknown', 'error']),
    error: z.string().optional(),
    rtt,
  })
  .meta({
    id: 'CancelledHost',
    description: '`done`: it had ended. `unknown`: the agent knows no such run of this dispatcher.',
  });

export const cancelRun = route({
  method: 'post',
  path: '/v1/runs/{reqid}/cancel',
  id: 'cancelRun',
  tag: 'running',
  summary: 'Stop a run on its hosts, or some of them',
  description: 'SIGTERM, and SIGKILL 5 s later. The end comes with the run itself, or by its status.',
  permission: { action: 'cancel', askedBy: 'use case' },
  input: { params: reqidParams, body: z.object({ hosts: hostList.optional(), ...credentials }) },
  examples: { one: { summary: 'On all of its hosts', params: { reqid: exampleReqid }, body: {} } },
  answers: {
    200: {
      description: 'What every agent made of it.',
      schema: z.object({ ok, reqid, script: z.string(), results: z.array(cancelled) }),
      examples: {
        one: {
          ok: true,
          reqid: exampleReqid,
          script: 'backup',
          results: [{ host: 'web-01', status: 'cancelling', rtt: '8ms' }],
        },
      },
    },
    404: notFoundAnswer,
  },
  errors: ['invalid_argument', 'identity_missing', 'store_failed'],
  handle: (call) =>
    hidden(
      call,
      call.dispatcher
        .cancel(call.params.reqid, { ...call.asking, ...(call.body.hosts && { hosts: call.body.hosts }) })
        .map(({ results, ...told }) =>
          success(200, {
            ...told,
            results: results.map(withRtt),
          }),
        ),
    ),
});
