import { z } from 'zod';
import { failureBody } from './failure-schema.js';
import type { EventDefinition } from './route.js';
import { hostResult, reqid } from './schemas.js';

const example = 'eab1731a91c588ee';

export const errorEvent: EventDefinition = {
  description: 'Last: what went wrong after the answer had begun.',
  schema: failureBody,
  example: { ok: false, error: 'aborted', detail: 'stopped by the caller' },
};

/** What is sent of a run that is followed. */
export const runEvents: Readonly<Record<string, EventDefinition>> = {
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
    schema: hostResult
      .extend({
        unheard: z
          .literal(true)
          .optional()
          .meta({ description: 'The end was not heard: nobody vouches for the output of this host.' }),
      })
      .meta({ id: 'ResultEvent' }),
    example: {
      host: 'web-01',
      script: 'backup',
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
        failed: z.array(z.string()).meta({ description: 'Hosts where `exit` is not 0.' }),
      })
      .meta({ id: 'EndEvent' }),
    example: { reqid: example, failed: [] },
  },
  error: errorEvent,
};
