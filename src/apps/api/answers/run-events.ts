import { ok, type Result } from 'neverthrow';
import { z } from 'zod';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import type { StreamRequest } from '../../../sdk/dispatcher/runs/follow.js';
import { endOf, runEventJson } from '../../json/events.js';
import { briefResultJson } from '../../json/hosts.js';
import { failureBody } from '../document/failure-schema.js';
import { hostResult, reqid } from '../document/schemas.js';
import type { Call, EventDefinition } from '../route.js';
import type { EventStream } from './event-stream.js';

const example = 'eab1731a91c588ee';

export const errorEvent: EventDefinition = {
  description: 'Last: what went wrong after the answer had begun.',
  schema: failureBody,
  example: { ok: false, error: 'aborted', detail: 'the API is ending' },
};

/** What is sent of a run that is followed. */
export const runEvents = {
  begin: {
    description: 'First: the run is recorded, and hosts are about to be contacted.',
    schema: z.object({ reqid }).meta({ id: 'BeginEvent' }),
    example: { reqid: example },
  },
  output: {
    description:
      'What a script wrote. Nobody vouches for it before the `result` of its host. Characters are whole; what is no UTF-8 comes as base64.',
    schema: z
      .object({
        host: z.string(),
        stream: z.enum(['stdout', 'stderr']),
        text: z.string().optional(),
        base64: z.string().optional(),
      })
      .meta({ id: 'OutputEvent' }),
    example: { host: 'web-01', stream: 'stdout', text: 'backing up…\n' },
  },
  result: {
    description:
      'A host has ended. A host that does not stream (a legacy agent) gives its output here alone.',
    schema: hostResult,
    example: {
      host: 'web-01',
      script: 'backup',
      state: 'succeeded',
      exit: 0,
      stdout: 'backing up…\n',
      stderr: '',
      rtt: '148ms',
      reqid: example,
    },
  },
  end: {
    description: 'Last: every host has ended.',
    schema: z
      .object({
        reqid,
        failed: z.array(z.string()).meta({ description: 'Hosts whose state is not `succeeded`.' }),
        incomplete: z.literal(true).optional().meta({
          description:
            'Events are missing, for none were taken for 20 s: the status of the run has the results.',
        }),
      })
      .meta({ id: 'EndEvent' }),
    example: { reqid: example, failed: [] },
  },
  error: errorEvent,
} satisfies Readonly<Record<string, EventDefinition>>;

/**
 * Runs a script and sends what happens as it happens. What is refused before the run begins is an error like any other. The
 * script is slowed to what the client takes; when the client is gone the run goes on, and its end is asked for later.
 */
export async function follow(
  call: Pick<Call, 'dispatcher' | 'events' | 'gone' | 'refusalOf'>,
  request: StreamRequest,
): Promise<Result<'sent', CtrlExecError>> {
  const followed = call.dispatcher.stream({ ...request, detachSignal: call.gone });
  const eventsOf = runEventJson(briefResultJson);
  let stream: EventStream | undefined;
  let ended = false;
  for await (const event of followed) {
    if (call.gone.aborted) return ok('sent');
    stream ??= call.events();
    ended = event.kind === 'end';
    for (const [name, data] of eventsOf(event)) await stream.send(name, data);
  }
  const outcome = await followed.outcome;
  if (!stream) return outcome.map(() => 'sent' as const);
  if (outcome.isErr()) await stream.send('error', call.refusalOf(outcome.error).body);
  else if (!ended) await stream.send('end', { ...endOf(outcome.value), incomplete: true });
  stream.end();
  return ok('sent');
}
