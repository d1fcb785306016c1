import { ResultAsync } from 'neverthrow';
import { z } from 'zod';
import type { Dispatcher } from '../../../sdk/dispatcher/dispatcher.js';
import { route } from '../route.js';

/** Gives the metrics, in whatever text the `contentType` names: of Prometheus that is `text/plain; version=0.0.4`. */
export type MetricsSource = (
  dispatcher: Dispatcher,
) => Promise<{ readonly contentType: string; readonly text: string }>;

/** `GET /metrics`, which is there where somebody gives metrics. */
export const metricsRoute = (metrics: MetricsSource) =>
  route({
    method: 'get',
    path: '/metrics',
    id: 'metrics',
    tag: 'service',
    summary: 'What a monitoring system is to know',
    description:
      'In the text format of Prometheus, for a scraper that sends a bearer token or a pair of `Basic`.',
    permission: { action: 'metrics', askedBy: 'route' },
    input: {},
    examples: { one: { summary: 'All metrics' } },
    answers: {
      200: {
        description: 'The metrics.',
        type: 'text/plain',
        schema: z.string(),
        examples: {
          one: '# HELP ctrl_exec_locks_held Locks of host and script that are held, by any process of this home.\n# TYPE ctrl_exec_locks_held gauge\nctrl_exec_locks_held 0\n',
        },
      },
    },
    errors: [],
    handle: ({ dispatcher }) =>
      ResultAsync.fromSafePromise(metrics(dispatcher)).map(({ contentType, text }) => ({
        status: 200 as const,
        body: text,
        type: contentType,
      })),
  });
