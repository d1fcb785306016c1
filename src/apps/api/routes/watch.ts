import { ok as fine, type Result, ResultAsync } from 'neverthrow';
import { z } from 'zod';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import { statusOf } from '../../../domain/runs/host-words.js';
import { briefResultJson, statusJson } from '../../json/hosts.js';
import type { EventStream } from '../answers/event-stream.js';
import { errorEvent } from '../answers/run-events.js';
import { hostResult, hostState, reqid, reqidParams } from '../document/schemas.js';
import { type Call, type EventDefinition, route } from '../route.js';
import { exampleReqid, hidden, notFoundAnswer, runStatus, statusExample } from './status.js';

export const stateEvents = {
  status: {
    description: 'First: how the run stands, as its status tells it.',
    schema: runStatus,
    example: statusExample,
  },
  host: {
    description: 'A host has ended whose end was not known at the beginning.',
    schema: z
      .object({
        ...hostResult.partial().shape,
        status: hostState.shape.status,
        host: z.string(),
      })
      .meta({ id: 'HostEvent' }),
    example: { host: 'web-02', status: 'done', exit: 0, stdout: '', stderr: '' },
  },
  end: {
    description: 'Last: every host has ended.',
    schema: z.object({ reqid, outcome: z.enum(['succeeded', 'failed']) }).meta({ id: 'RunEndEvent' }),
    example: { reqid: exampleReqid, outcome: 'succeeded' },
  },
  error: errorEvent,
} satisfies Readonly<Record<string, EventDefinition>>;

export const watchRun = route({
  method: 'get',
  path: '/v1/runs/{reqid}/events',
  id: 'watchRun',
  tag: 'running',
  summary: 'How a run ends, host by host, as it is learnt',
  description: 'Server-sent events until every host has ended; of runs of any process, of either mode.',
  permission: { action: 'status', askedBy: 'use case' },
  input: { params: reqidParams },
  examples: { one: { summary: 'One run', params: { reqid: exampleReqid } } },
  answers: { 404: notFoundAnswer },
  events: stateEvents,
  watches: true,
  errors: ['identity_missing', 'store_failed'],
  handle: (call) => hidden(call, new ResultAsync(watched(call))),
});

async function watched(call: Call<{ params: typeof reqidParams }>): Promise<Result<'sent', CtrlExecError>> {
  const { dispatcher, asking } = call;
  const { reqid: id } = call.params;
  let stream: EventStream | undefined;
  let sent: Promise<unknown> = Promise.resolve();
  const outcome = await dispatcher.watch(id, {
    ...asking,
    signal: AbortSignal.any([call.gone, call.ending]),
    onStatus: (status) => {
      stream = call.events();
      sent = stream.send('status', { ok: true, ...statusJson(status, 'api') });
    },
    onResult: (ended) => {
      const data = { ...briefResultJson(ended), status: statusOf(ended) };
      sent = sent.then(() => stream?.send('host', data));
    },
  });
  if (!stream) return outcome.map(() => 'sent' as const);
  await sent;
  if (outcome.isErr()) await stream.send('error', call.refusalOf(outcome.error).body);
  else {
    const succeeded = outcome.value.outcome === 'fine';
    await stream.send('end', { reqid: id, outcome: succeeded ? 'succeeded' : 'failed' });
  }
  stream.end();
  return fine('sent');
}
