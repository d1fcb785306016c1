import { z } from 'zod';
import { compared, type PairingRequest } from '../../../domain/pairing/request.js';
import { namesMeant, requestState } from '../../../domain/pairing/request-state.js';
import type { Dispatcher } from '../../../sdk/dispatcher/dispatcher.js';
import { agentNameText, credentials, epochSeconds, ok, seconds } from '../document/schemas.js';
import { route, success } from '../route.js';

const request = z
  .object({
    id: z.string(),
    host: z.string().meta({ description: 'The name that the agent gives itself.' }),
    ip: z.string().meta({ description: 'Where its connection came from.' }),
    stated_ip: z.string().nullable().meta({
      description:
        'Another address, which the agent has by its own account: it may be behind address translation. Null: it says none.',
    }),
    port: z.int(),
    lookup_by: z.enum(['hostname', 'ip']),
    code: z.string().nullable().meta({ description: 'Six digits; null: not known yet.' }),
    compare: z.string().nullable().meta({
      description:
        'Request id and code as one text, to be compared with what the agent shows; by version 1 the six digits alone. Null: not known yet.',
    }),
    version: z.union([z.literal(1), z.literal(2)]),
    state: z.enum(['started', 'open', 'approved', 'issued', 'active', 'denied', 'expired', 'given-up']).meta({
      description:
        '`given-up`: it ended after its code was known, and holds a place until it is denied or expires.',
    }),
    name: z.string().optional().meta({ description: 'Under which it was approved.' }),
    reason: z.string().optional().meta({ description: 'Why it was denied.' }),
    created_at: seconds('When it came.'),
    expires_at: seconds('When it is given up.'),
  })
  .meta({ id: 'PairingRequest' });

const requestJson = ({ decision, ...asked }: PairingRequest): z.input<typeof request> => ({
  id: asked.id,
  host: asked.host,
  ip: asked.ip,
  stated_ip: asked.statedIp ?? null,
  port: asked.port,
  lookup_by: asked.lookupBy,
  code: asked.code ?? null,
  compare: compared(asked) ?? null,
  version: asked.version === 'v1' ? 1 : 2,
  state: requestState({ decision, ...asked }, Date.now()),
  ...(decision?.verdict === 'approve' && { name: decision.name }),
  ...(decision?.verdict === 'deny' && { reason: decision.reason }),
  created_at: epochSeconds(asked.createdAt),
  expires_at: epochSeconds(asked.expiresAt),
});

const example: z.input<typeof request> = {
  id: '0f1e2d3c4b5a69788796a5b4c3d2e1f0',
  host: 'web-03',
  ip: '10.0.0.3',
  stated_ip: null,
  port: 7443,
  lookup_by: 'hostname',
  code: '420711',
  compare: '0f1e2d3c-420711',
  version: 2,
  state: 'open',
  created_at: 1_780_000_000,
  expires_at: 1_780_000_600,
};

export const listPairingRequests = route({
  method: 'get',
  path: '/v1/pairing-requests',
  id: 'listPairingRequests',
  tag: 'pairing',
  summary: 'Pairing requests that wait',
  permission: { action: 'pairing-requests', askedBy: 'route' },
  input: {
    query: z.object({
      given_up: z.enum(['true', 'false']).optional().meta({
        description: 'Whether those are listed as well that were given up and hold a place. Default: false.',
      }),
    }),
  },
  examples: {
    waiting: { summary: 'Those that wait' },
    all: { summary: 'Those as well that were given up', query: { given_up: 'true' } },
  },
  answers: {
    200: {
      description: 'The requests, while pairing mode is open.',
      schema: z.object({ ok, requests: z.array(request) }),
      examples: { one: { ok: true, requests: [example] } },
    },
  },
  errors: ['store_failed'],
  handle: ({ dispatcher, query }) =>
    dispatcher
      .pairingRequests({ givenUp: query.given_up === 'true' })
      .map((requests) => success(200, { requests: requests.map(requestJson) })),
});

const params = z.object({
  id: z.string().meta({
    description: 'Id of the request, or a unique prefix of at least 8 digits.',
    example: '0f1e2d3c',
  }),
});

/** The agent that a decision is about, as it would be registered: what the hook decides by. */
const hostOf = async (dispatcher: Dispatcher, id: string): Promise<readonly string[]> =>
  namesMeant((await dispatcher.pairingRequests({ givenUp: true })).unwrapOr([]), id);

const answers = {
  200: {
    description: 'The request as it is now.',
    schema: z.object({ ok, request }),
    examples: {
      one: { ok: true as const, request: { ...example, state: 'approved' as const, name: 'web-03' } },
    },
  },
};

const decision = {
  method: 'post',
  tag: 'pairing',
  answers,
} as const;

const decisionErrors = [
  'invalid_argument',
  'pairing_unknown',
  'id_ambiguous',
  'not_ready',
  'store_failed',
] as const;

const answered = (decided: PairingRequest) => success(200, { request: requestJson(decided) });

export const approvePairing = route({
  ...decision,
  path: '/v1/pairing-requests/{id}/approve',
  id: 'approvePairing',
  summary: 'Admit an agent whose code was compared',
  description:
    'With `code`, as it was read at the agent, a different one refuses the request and ends it. The certificate is issued once the agent has confirmed as well.',
  permission: {
    action: 'approve',
    askedBy: 'route',
    subject: async ({ params: { id }, body: { name } }, dispatcher) => ({
      hosts: name === undefined ? await hostOf(dispatcher, id) : [name],
      args: [id],
    }),
  },
  input: {
    params,
    body: z.object({
      code: z
        .string()
        .regex(/^([0-9a-fA-F]{8}-)?\d{6}$/, 'expected what the agent shows, or its last six digits')
        .optional()
        .meta({
          description: 'Request id and code as the agent shows them, or its six digits alone.',
          example: '0f1e2d3c-420711',
        }),
      name: agentNameText
        .optional()
        .meta({ description: 'Registered name. Default: as the agent names itself.' }),
      replace: z.boolean().optional().meta({
        description: 'Whether a name that is registered may get this new key. Default: false.',
      }),
      lookup_by: z.enum(['hostname', 'ip']).optional().meta({ description: 'Default: as the agent asks.' }),
      port: z.int().min(1).max(65_535).optional().meta({ description: 'Default: as the agent asks.' }),
      ip: z
        .string()
        .optional()
        .meta({ description: 'The address that is registered. Default: where its connection came from.' }),
      ...credentials,
    }),
  },
  examples: { code: { summary: 'With the code', params: { id: '0f1e2d3c' }, body: { code: '420711' } } },
  errors: [...decisionErrors, 'codes_differ', 'agent_exists', 'downgrade_refused'],
  handle: ({ dispatcher, params: { id }, body }) => {
    const { code, name, replace, lookup_by, port, ip } = body;
    return dispatcher
      .approve({
        id,
        ...(code !== undefined && { code }),
        ...(name !== undefined && { name }),
        ...(replace !== undefined && { replace }),
        ...(lookup_by !== undefined && { lookupBy: lookup_by }),
        ...(port !== undefined && { port }),
        ...(ip !== undefined && { ip }),
      })
      .map(answered);
  },
});

export const denyPairing = route({
  ...decision,
  path: '/v1/pairing-requests/{id}/deny',
  id: 'denyPairing',
  summary: 'Turn an agent away',
  permission: {
    action: 'deny',
    askedBy: 'route',
    subject: async ({ params: { id } }, dispatcher) => ({ hosts: await hostOf(dispatcher, id), args: [id] }),
  },
  input: {
    params,
    body: z.object({
      reason: z
        .string()
        .min(1)
        .max(200)
        .optional()
        .meta({ description: 'Told to the agent.', example: 'not known here' }),
      ...credentials,
    }),
  },
  examples: { one: { summary: 'Told why', params: { id: '0f1e2d3c' }, body: { reason: 'not known here' } } },
  errors: decisionErrors,
  handle: ({ dispatcher, params: { id }, body: { reason } }) => dispatcher.deny(id, reason).map(answered),
});
