import { errAsync, ok as fine } from 'neverthrow';
import { z } from 'zod';
import { failure } from '../../../domain/core/errors.js';
import { parseTagFilter } from '../../../domain/runs/tags.js';
import type { AgentRecord } from '../../../domain/trust/agent-record.js';
import {
  agentNameText,
  credentials,
  epochSeconds,
  ok,
  seconds,
  secondsOrNull,
  tagMap,
} from '../document/schemas.js';
import { route, success } from '../route.js';

const agent = z
  .object({
    name: z.string(),
    hostname: z.string(),
    ip: z.string(),
    port: z.int(),
    lookup_by: z.enum(['hostname', 'ip']).meta({ description: 'Which of the two is dialled.' }),
    pairing: z.enum(['v1', 'v2']),
    paired_at: seconds('When its certificate was issued.'),
    signed: z
      .boolean()
      .nullable()
      .meta({ description: 'Whether it signs its answers; null: it was not heard of yet.' }),
    last_contact_at: z
      .int()
      .nullable()
      .meta({ description: 'Its last answer; may lag by a minute. Seconds since 1970.' }),
    keys: z
      .array(
        z.object({
          spki_sha256: z.string(),
          state: z.enum(['active', 'issued']),
          serial: z.string(),
          not_after: seconds('End of its certificate.'),
        }),
      )
      .meta({ description: 'The keys that may answer for it.' }),
    tags: tagMap,
  })
  .meta({ id: 'Agent', description: 'An agent in the registry.' });

const agentJson = ({
  name,
  endpoint,
  pins,
  pairing,
  pairedAt,
  standing,
  tags,
}: AgentRecord): z.input<typeof agent> => ({
  name,
  hostname: endpoint.host,
  ip: endpoint.ip,
  port: endpoint.port,
  lookup_by: endpoint.lookupBy,
  pairing,
  paired_at: epochSeconds(pairedAt),
  signed: standing.speaks === undefined ? null : standing.speaks === 'signed',
  last_contact_at: secondsOrNull(standing.lastContact),
  keys: pins.map(({ spkiSha256, state, serial, notAfter }) => ({
    spki_sha256: spkiSha256,
    state,
    serial,
    not_after: epochSeconds(notAfter),
  })),
  tags: { ...tags },
});

const example: z.input<typeof agent> = {
  name: 'web-01',
  hostname: 'web-01.example.com',
  ip: '10.0.0.1',
  port: 7443,
  lookup_by: 'hostname',
  pairing: 'v2',
  paired_at: 1_780_000_000,
  signed: true,
  last_contact_at: 1_780_000_500,
  keys: [
    {
      spki_sha256: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
      state: 'active',
      serial: '5a3f0c',
      not_after: 1_811_536_000,
    },
  ],
  tags: { env: 'prod' },
};

const params = z.object({
  name: agentNameText.meta({ description: 'Registered name of the agent.', example: 'web-01' }),
});

const oneAnswer = (description: string) => ({
  200: {
    description,
    schema: z.object({ ok, agent }),
    examples: { one: { ok: true as const, agent: example } },
  },
});

const one = (record: AgentRecord) => success(200, { agent: agentJson(record) });

const invalid = (field: string, reason: string) =>
  failure('invalid_argument', `${field}: ${reason}`, { field, reason });

export const listAgents = route({
  method: 'get',
  path: '/v1/agents',
  id: 'listAgents',
  tag: 'agents',
  summary: 'Registered agents, by name',
  permission: { action: 'agents', askedBy: 'route' },
  input: {
    query: z.object({
      tags: z
        .string()
        .optional()
        .meta({ description: 'Only agents that have all of these tags: `env=prod,role=web`.' }),
      limit: z.coerce.number().int().min(1).max(1000).default(100).meta({ description: 'How many at most.' }),
      cursor: z.string().max(1000).optional().meta({ description: '`next_cursor` of the page before.' }),
    }),
  },
  examples: {
    all: { summary: 'The first hundred' },
    tags: { summary: 'By tags', query: { tags: 'env=prod', limit: '10' } },
  },
  answers: {
    200: {
      description: 'A page of agents.',
      schema: z.object({
        ok,
        agents: z.array(agent),
        next_cursor: z.string().optional().meta({ description: 'Missing on the last page.' }),
      }),
      examples: { one: { ok: true, agents: [example] } },
    },
  },
  errors: ['invalid_argument', 'store_failed'],
  handle: ({ dispatcher, query: { tags, limit, cursor } }) =>
    (tags === undefined ? fine({}) : parseTagFilter(tags)).asyncAndThen((filter) =>
      dispatcher
        .agentPage({ tags: filter, limit, ...(cursor !== undefined && { cursor }) })
        .map(({ agents, nextCursor }) =>
          success(200, {
            agents: agents.map(({ record }) => agentJson(record)),
            ...(nextCursor !== undefined && { next_cursor: nextCursor }),
          }),
        ),
    ),
});

export const getAgent = route({
  method: 'get',
  path: '/v1/agents/{name}',
  id: 'getAgent',
  tag: 'agents',
  summary: 'One agent',
  permission: { action: 'agents', askedBy: 'route', subject: ({ params: { name } }) => ({ hosts: [name] }) },
  input: { params },
  examples: { one: { summary: 'One agent', params: { name: 'web-01' } } },
  answers: oneAnswer('The agent.'),
  errors: ['invalid_argument', 'agent_unknown', 'store_failed'],
  handle: ({ dispatcher, params: { name } }) => dispatcher.agent(name).map(one),
});

export const editAgent = route({
  method: 'patch',
  path: '/v1/agents/{name}',
  id: 'editAgent',
  tag: 'agents',
  summary: 'Change the name of an agent, or where it is reached',
  description: 'What is left out stays. The key stays pinned.',
  permission: {
    action: 'edit-agent',
    askedBy: 'route',
    subject: ({ params: { name }, body: { rename } }) => ({
      hosts: rename === undefined ? [name] : [name, rename],
    }),
  },
  input: {
    params,
    body: z.object({
      rename: agentNameText.optional().meta({ description: 'The new name.' }),
      hostname: z.string().optional().meta({ description: 'Dialled where `lookup_by` is `hostname`.' }),
      ip: z.string().optional().meta({ description: 'Dialled where `lookup_by` is `ip`.' }),
      port: z.int().min(1).max(65_535).optional(),
      lookup_by: z.enum(['hostname', 'ip']).optional(),
      ...credentials,
    }),
  },
  examples: {
    port: { summary: 'By its address', params: { name: 'web-01' }, body: { lookup_by: 'ip' } },
  },
  answers: oneAnswer('The agent as it is now.'),
  errors: ['invalid_argument', 'agent_unknown', 'agent_exists', 'store_failed'],
  handle: ({ dispatcher, params: { name }, body }) => {
    const { rename, hostname, ip, port, lookup_by } = body;
    if ([rename, hostname, ip, port, lookup_by].every((each) => each === undefined))
      return errAsync(invalid('body', 'nothing is to be changed'));
    return dispatcher
      .editAgent(name, {
        ...(rename !== undefined && { rename }),
        ...(hostname !== undefined && { host: hostname }),
        ...(ip !== undefined && { ip }),
        ...(port !== undefined && { port }),
        ...(lookup_by !== undefined && { lookupBy: lookup_by }),
      })
      .map(one);
  },
});

export const unpairAgent = route({
  method: 'delete',
  path: '/v1/agents/{name}',
  id: 'unpairAgent',
  tag: 'agents',
  summary: 'Forget an agent',
  description: 'Its key answers for nobody any more. Its certificate is not revoked by that.',
  permission: { action: 'unpair', askedBy: 'route', subject: ({ params: { name } }) => ({ hosts: [name] }) },
  input: { params },
  examples: { one: { summary: 'One agent', params: { name: 'web-01' } } },
  answers: oneAnswer('The agent as it was.'),
  errors: ['invalid_argument', 'agent_unknown', 'store_failed'],
  handle: ({ dispatcher, params: { name } }) => dispatcher.unpair(name).map(one),
});
