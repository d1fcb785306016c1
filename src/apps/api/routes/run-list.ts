import { z } from 'zod';
import { epochSeconds, hostStateWord, ok, reqid, seconds, secondsOrNull } from '../document/schemas.js';
import { route, success } from '../route.js';
import { exampleReqid } from './status.js';

const runSummary = z
  .object({
    reqid,
    script: z.string(),
    hosts: z.array(z.string()),
    mode: z.enum(['sync', 'async']),
    username: z.string(),
    source_ip: z.string(),
    started_at: seconds('When it was begun.'),
    completed_at: z.int().nullable().meta({ description: 'When it had ended. Seconds since 1970.' }),
    outcome: z.enum(['running', 'unknown', 'succeeded', 'failed']),
    counts: z
      .partialRecord(hostStateWord, z.int())
      .meta({ description: 'Hosts in each state; states without any are left out.' }),
    principal: z.string().optional().meta({
      description: 'The operating-system user who started the process that began it, such as `os:root`.',
    }),
    failed: z.array(z.string()).meta({ description: 'Hosts where it did not end with 0.' }),
  })
  .meta({ id: 'RunSummary' });

const instant = (description: string) =>
  z.coerce.number().int().min(0).max(9_999_999_999).optional().meta({ description });

export const listRuns = route({
  method: 'get',
  path: '/v1/runs',
  id: 'listRuns',
  tag: 'running',
  summary: 'Runs, the latest first',
  description: 'Without arguments and output. Records are kept for `run_ttl` seconds after a run has ended.',
  permission: {
    action: 'runs',
    askedBy: 'route',
    subject: ({ query: { host, script } }) => ({
      // Runs on a name that is not registered any more are found by either spelling.
      ...(host !== undefined && { hosts: [host, host.toLowerCase()] }),
      ...(script !== undefined && { script }),
    }),
  },
  input: {
    query: z.object({
      host: z.string().optional().meta({ description: 'Only runs on this host.' }),
      script: z.string().optional().meta({ description: 'Only runs of this script.' }),
      user: z
        .string()
        .max(1024)
        .regex(/^[^\0]*$/, 'expected a text without NUL')
        .optional()
        .meta({ description: 'Only runs of whom the hook was told by this name.' }),
      outcome: hostStateWord.optional().meta({ description: 'Only runs of which a host is in this state.' }),
      started_after: instant('Only runs that were begun then or later. Seconds since 1970.'),
      started_before: instant('Only runs that were begun before. Seconds since 1970.'),
      limit: z.coerce.number().int().min(1).max(200).optional().meta({ description: 'Default: 50.' }),
      cursor: z.string().max(1000).optional().meta({ description: '`next_cursor` of the page before.' }),
    }),
  },
  examples: {
    all: { summary: 'The latest' },
    failed: { summary: 'What failed on a host', query: { host: 'web-01', outcome: 'failed', limit: '10' } },
  },
  answers: {
    200: {
      description: 'A page of runs.',
      schema: z.object({
        ok,
        runs: z.array(runSummary),
        next_cursor: z.string().optional().meta({ description: 'Missing on the last page.' }),
      }),
      examples: {
        one: {
          ok: true,
          runs: [
            {
              reqid: exampleReqid,
              script: 'backup',
              hosts: ['web-01', 'web-02'],
              mode: 'sync',
              username: 'alice',
              source_ip: '10.0.0.9',
              started_at: 1_780_000_000,
              completed_at: 1_780_000_012,
              outcome: 'failed',
              counts: { succeeded: 1, failed: 1 },
              principal: 'os:root',
              failed: ['web-02'],
            },
          ],
        },
      },
    },
  },
  errors: ['invalid_argument', 'store_failed'],
  handle: ({ dispatcher, query }) => {
    const { host, script, user, outcome, started_after, started_before, limit, cursor } = query;
    return dispatcher
      .runs({
        ...(host !== undefined && { host }),
        ...(script !== undefined && { script }),
        ...(user !== undefined && { username: user }),
        ...(outcome !== undefined && { outcome }),
        ...(started_after !== undefined && { startedAfter: started_after * 1000 }),
        ...(started_before !== undefined && { startedBefore: started_before * 1000 }),
        ...(limit !== undefined && { limit }),
        ...(cursor !== undefined && { cursor }),
      })
      .map(({ runs, nextCursor }) =>
        success(200, {
          runs: runs.map((run) => ({
            reqid: run.reqid,
            script: run.script,
            hosts: [...run.hosts],
            mode: run.mode,
            username: run.username,
            source_ip: run.sourceIp,
            started_at: epochSeconds(run.startedAt),
            completed_at: secondsOrNull(run.completedAt),
            outcome: run.outcome,
            counts: run.counts,
            ...(run.principal !== undefined && { principal: run.principal }),
            failed: [...run.failed],
          })),
          ...(nextCursor !== undefined && { next_cursor: nextCursor }),
        }),
      );
  },
});
