import { ResultAsync } from 'neverthrow';
import { z } from 'zod';
import { legacyArgumentText } from '../../../domain/legacy/arguments.js';
import type { Dispatcher } from '../../../sdk/dispatcher/dispatcher.js';
import type { Asking } from '../../../sdk/dispatcher/fleet/ask.js';
import { briefResultJson, submissionJson } from '../../json/hosts.js';
import { follow, runEvents } from '../answers/run-events.js';
import {
  credentials,
  hostList,
  hostResult,
  ok,
  reqid,
  scriptArgument,
  submission,
  tagMap,
} from '../document/schemas.js';
import { type Call, type RequestExample, route, success } from '../route.js';

const argumentsOf = <Item extends z.ZodType>(item: Item, description: string) =>
  z
    .array(item)
    .max(10_000)
    .optional()
    .meta({ description, example: ['--db', 'app'] });

/** What deployed clients send as an argument. */
const legacyArgument = z
  .union([z.string(), z.number(), z.boolean()], {
    error: 'expected a string, a number or a boolean',
  })
  .refine(
    (value) => legacyArgumentText(value) !== undefined,
    'expected a number from -9007199254740991 to 9007199254740991; a larger one must be a string',
  );

const what = {
  script: scriptArgument,
  args: argumentsOf(z.string(), 'The argument vector: no shell comes between.'),
  timeout: z
    .int()
    .min(1)
    .max(604_800)
    .optional()
    .meta({ description: 'Seconds after which an agent ends the script. Default: as the agent is set.' }),
};

export const asyncSwitch = z
  .union([z.boolean(), z.literal(0), z.literal(1)])
  .optional()
  .meta({
    description:
      'Whether agents run the script by themselves, and `status` tells how it ended. Default: false.',
  });

export const idempotencyKey = z.object({
  'idempotency-key': z
    .string()
    .regex(/^[\x20-\x7e]{1,255}$/, 'expected 1 to 255 printable ASCII characters')
    .optional()
    .meta({
      description:
        'One run per key, such as `deploy-2041`, for as long as its record is kept: a repeat of the request starts nothing, and is given the answer of the first.',
    }),
});

const failedHost = {
  host: 'web-02',
  script: 'backup',
  exit: -1,
  error: 'nothing listens on 10.0.0.2:7443',
  state: 'unreachable' as const,
  failure: { code: 'connection_refused', host: '10.0.0.2', port: 7443, may_have_run: false },
  rtt: '1ms',
  reqid: 'eab1731a91c588ee',
};

export const runAnswers = {
  200: {
    description:
      'What every host answered, in the order of the request; a host that failed is reported inline.',
    schema: z.object({
      ok,
      reqid,
      results: z.array(hostResult),
      warnings: z
        .array(z.string())
        .optional()
        .meta({ description: 'What could not be recorded; the results stand all the same.' }),
    }),
    examples: {
      oneDown: {
        ok: true as const,
        reqid: 'eab1731a91c588ee',
        results: [
          {
            host: 'web-01',
            script: 'backup',
            exit: 0,
            stdout: 'done\n',
            stderr: '',
            state: 'succeeded' as const,
            rtt: '148ms',
            reqid: 'eab1731a91c588ee',
          },
          failedHost,
        ],
      },
    },
  },
  202: {
    description: 'How every host took an async run.',
    schema: z.object({
      ok,
      async: z.literal(true),
      reqid,
      results: z.array(submission),
      warnings: z.array(z.string()).optional(),
    }),
    examples: {
      accepted: {
        ok: true as const,
        async: true as const,
        reqid: 'eab1731a91c588ee',
        results: [
          {
            host: 'web-01',
            state: 'running' as const,
            status: 'accepted' as const,
            reqid: 'eab1731a91c588ee',
            rtt: '14ms',
          },
          {
            host: 'web-02',
            state: 'refused' as const,
            status: 'busy' as const,
            error: 'script already running',
            reqid: 'eab1731a91c588ee',
            rtt: '11ms',
          },
        ],
      },
    },
  },
};

const warned = (warnings: readonly string[]) => warnings.length > 0 && { warnings: [...warnings] };

interface Order {
  readonly script: string;
  readonly args?: string[] | undefined;
  readonly timeout?: number | undefined;
  readonly async?: boolean | 0 | 1 | undefined;
}

/** The answer to a run over these hosts: its results, how it was taken, or events. A client that goes does not end it. */
function ran(
  call: Pick<Call, 'dispatcher' | 'asking' | 'refusalOf' | 'wantsEvents' | 'events' | 'gone' | 'ending'>,
  { script, args, timeout, ...order }: Order,
  hosts: readonly string[],
  key: string | undefined,
  onUnknown: Asking['onUnknown'] = 'report',
) {
  const request = {
    ...call.asking,
    onUnknown,
    hosts,
    script,
    ...(args && { args }),
    ...(timeout !== undefined && { timeout }),
    ...once(call, key),
  };
  if (order.async) return submitted(call.dispatcher.submit(request));
  if (call.wantsEvents) return new ResultAsync(follow(call, request));
  return finished(call.dispatcher.run(request));
}

/** A repetition has nothing to finish: it waits no longer than its client, and the API, are there. */
export const once = ({ gone, ending }: Pick<Call, 'gone' | 'ending'>, key: string | undefined) =>
  key !== undefined && { idempotencyKey: key, repeatSignal: AbortSignal.any([gone, ending]) };

export const finished = (run: ReturnType<Dispatcher['run']>) =>
  run.map(({ reqid: id, results, warnings }) =>
    success(200, { reqid: id, results: results.map(briefResultJson), ...warned(warnings) }),
  );

export const submitted = (submission: ReturnType<Dispatcher['submit']>) =>
  submission.map(({ reqid: id, results, warnings }) =>
    success(202, {
      async: true as const,
      reqid: id,
      results: results.map(submissionJson),
      ...warned(warnings),
    }),
  );

const shared = {
  method: 'post',
  tag: 'running',
  permission: { action: 'run', askedBy: 'use case' },
  answers: runAnswers,
  events: runEvents,
  errors: ['invalid_argument', 'locked', 'idempotency_mismatch', 'identity_missing', 'store_failed'],
} as const;

const examples: Readonly<Record<string, RequestExample>> = {
  one: { summary: 'With arguments', body: { hosts: ['web-01'], script: 'greet', args: ['world'] } },
  async: { summary: 'By itself', body: { hosts: ['web-01'], script: 'greet', async: true } },
  once: {
    summary: 'At most once',
    headers: { 'idempotency-key': 'deploy-2041' },
    body: { hosts: ['web-01'], script: 'greet' },
  },
};

export const run = route({
  ...shared,
  path: '/run',
  id: 'run',
  summary: 'Run a script on hosts',
  description: 'A script runs once at a time on one host: 409 where one of the hosts is at it.',
  input: {
    headers: idempotencyKey,
    body: z.object({
      hosts: hostList,
      ...what,
      args: argumentsOf(
        legacyArgument,
        'The argument vector: no shell comes between. A number or a boolean is passed as text: `1`, `1.5`, `true`; a number without insignificant zeros and exponents, so `1.0` as `1` and `1e3` as `1000`.',
      ),
      async: asyncSwitch,
      ...credentials,
    }),
  },
  examples,
  handle: ({ body, ...call }) =>
    ran(
      call,
      { ...body, args: body.args?.map((each) => legacyArgumentText(each) ?? '') },
      body.hosts,
      call.headers['idempotency-key'],
    ),
});

export const createRun = route({
  ...shared,
  errors: [...shared.errors, 'target_unknown'],
  path: '/v1/runs',
  id: 'createRun',
  summary: 'Run a script on hosts, or on all agents with some tags',
  description:
    'A host without dot and port that is neither registered nor resolves is a slip: 400, and nothing is sent to any host. With `Accept: text/event-stream` output comes as it is written. A script whose output is not read is slowed down; a client that goes away does not end it.',
  input: {
    headers: idempotencyKey,
    body: z.object({
      hosts: hostList.optional(),
      tags: tagMap.optional().meta({
        description: 'Instead of `hosts`: all agents that have all of these tags, as last reported.',
      }),
      ...what,
      async: asyncSwitch,
      ...credentials,
    }),
  },
  examples: {
    ...examples,
    tags: { summary: 'By tags', body: { tags: { env: 'prod' }, script: 'greet' } },
    events: {
      summary: 'Output as it comes',
      headers: { accept: 'text/event-stream' },
      body: { hosts: ['web-01'], script: 'greet' },
    },
  },
  handle: (call) =>
    call.dispatcher
      .targets(targetsOf(call))
      .andThen((hosts) => ran(call, call.body, hosts, call.headers['idempotency-key'], 'refuse')),
});

interface Targeted extends Order {
  readonly hosts?: string[] | undefined;
  readonly tags?: Record<string, string> | undefined;
}

/** Which tags there are learns nobody who may run the script nowhere. */
const targetsOf = ({
  asking,
  body: { hosts, tags, script, args },
}: Pick<Call, 'asking'> & { readonly body: Targeted }) => ({
  ...asking,
  ...(hosts && { hosts }),
  ...(tags && { tags }),
  question: { action: 'run', script, hosts: [], ...(args && { args }) },
});
