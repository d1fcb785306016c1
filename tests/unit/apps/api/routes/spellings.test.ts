import { errAsync } from 'neverthrow';
import { describe, expect, it } from 'vitest';
import { failure } from '../../../../../src/domain/core/errors.js';
import type { PairingRequest } from '../../../../../src/domain/pairing/request.js';
import { value } from '../../../../contract/result.js';
import { apiOver } from '../../../../support/api/api.js';
import { memoryApi, no } from '../../../../support/api/memory-api.js';
import { dispatcherOver, withPorts } from '../../../../support/fleet/memory-agents.js';

const yes = { kind: 'exited', code: 0 } as const;

const waiting = (host: string): PairingRequest => ({
  id: '0f1e2d3c4b5a69788796a5b4c3d2e1f0',
  state: 'open',
  host,
  ip: '192.0.2.1',
  port: 7443,
  lookupBy: 'hostname',
  code: '123456',
  version: 'v2',
  decision: undefined,
  createdAt: 0,
  expiresAt: Number.MAX_SAFE_INTEGER,
  place: { kind: 'compare', key: '192.0.2.1', until: Number.MAX_SAFE_INTEGER },
});

describe('a name that is not registered yet', () => {
  it('is told to the hook as it will be registered, however it is spelt', async () => {
    const { ask, policy, serve, control } = await memoryApi();
    await serve('web-02');
    const limits = { total: 1, perKey: 1 };
    value(await control.context.pairing.begin({ request: waiting('PROD-01'), limits }));
    policy.decide = ({ hosts }) => (hosts.includes('prod-01') ? no(3) : yes);
    for (const [method, path, body] of [
      ['PATCH', '/v1/agents/web-02', { rename: 'prod-01' }],
      ['PATCH', '/v1/agents/web-02', { rename: 'PROD-01' }],
      ['POST', '/v1/pairing-requests/0f1e2d3c/approve', { name: 'Prod-01' }],
      ['POST', '/v1/pairing-requests/0f1e2d3c/approve', {}],
      ['POST', '/v1/pairing-requests/0f1e2d3c/deny', {}],
      ['GET', '/v1/runs?host=PROD-01', undefined],
      ['GET', '/v1/agents/PROD-01', undefined],
    ] as const)
      expect([path, body, (await ask(method, path, { body })).status]).toEqual([path, body, 403]);
  });

  it('is 400 where it can be none, and the hook is not asked about it', async () => {
    const { ask, serve, questions } = await memoryApi();
    await serve('web-02');
    questions();
    for (const [method, path, field, body] of [
      ['PATCH', '/v1/agents/web-02', 'rename', { rename: 'a b' }],
      ['POST', '/v1/pairing-requests/0f1e2d3c/approve', 'name', { name: '-x' }],
      ['GET', '/v1/agents/%00', 'name', undefined],
      ['DELETE', '/v1/agents/a%20b', 'name', undefined],
    ] as const) {
      const { status, json } = await ask(method, path, { body });
      expect([path, status, json.field]).toEqual([path, 400, field]);
    }
    expect(questions()).toEqual([]);
  });
});

it('a name that every host has is given to no agent', async () => {
  const { ask, serve } = await memoryApi();
  await serve('web-02');
  const { status, json } = await ask('PATCH', '/v1/agents/web-02', { body: { rename: 'localhost' } });
  expect([status, json.field]).toEqual([400, 'rename']);
  expect((await ask('GET', '/v1/agents/web-02')).status).toBe(200);
});

it('what no host argument may hold is 400 before the store is asked', async () => {
  const { control } = await memoryApi('api_auth_default = allow\n');
  const asked: string[] = [];
  const { registry } = control.context;
  const dispatcher = dispatcherOver(
    withPorts(control, {
      registry: {
        ...registry,
        find: (name) => {
          asked.push(name);
          return registry.find(name);
        },
      },
    }),
  );
  const api = await apiOver(dispatcher);
  for (const [method, path, body] of [
    ['POST', '/run', { hosts: ['a\0b'], script: 'greet' }],
    ['POST', '/discovery', { hosts: ['a\0b'] }],
    ['POST', '/ping', { hosts: ['a\u0085b'] }],
    ['GET', '/v1/runs?host=a%00b', undefined],
  ] as const) {
    const { status, json } = await api.ask(method, path, { body });
    expect([path, status, json.error]).toEqual([
      path,
      400,
      path.startsWith('/v1/') ? 'invalid_argument' : 'bad request',
    ]);
  }
  expect(asked).toEqual([]);
});

it.each([
  failure('store_failed', '/secret/home/ctrl-exec.db: the disk is full', { operation: 'x', reason: 'FULL' }),
  failure('file_failed', 'cannot read /secret/home/key: EACCES', {
    path: '/secret/home/key',
    operation: 'read',
    reason: 'EACCES',
  }),
  failure('config_invalid', '/secret/home/x.conf:3: no such key', {
    file: '/secret/home/x.conf',
    reason: '',
  }),
])('$code names no path to a client', async (error) => {
  const { control } = await memoryApi('api_auth_default = allow\n');
  const { registry } = control.context;
  const dispatcher = dispatcherOver(
    withPorts(control, { registry: { ...registry, list: () => errAsync(error as never) } }),
  );
  const { status, text } = await (await apiOver(dispatcher)).get('/v1/agents');
  expect(status).toBe(500);
  expect(text).not.toContain('/secret');
});
