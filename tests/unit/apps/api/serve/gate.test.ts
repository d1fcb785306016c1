import type { Request } from 'express';
import { describe, expect, it } from 'vitest';
import { defaultGateLimits, gate } from '../../../../../src/apps/api/serve/gate.js';

const from = (remoteAddress?: string, path = '/run', method = 'GET') =>
  ({ socket: { remoteAddress }, path, method }) as unknown as Request;
const limits = { ...defaultGateLimits, unadmitted: 8, metrics: 2, watching: 4, watchingOfCaller: 2 };

describe('requests that nobody has let in yet', () => {
  it('of one source take a quarter of the places, and give them back', () => {
    const { enter } = gate(
      () => 1,
      () => 0,
      limits,
    );
    const first = enter(from('192.0.2.1'));
    expect(enter(from('192.0.2.1')).busy).toBe(undefined);
    expect(enter(from('::ffff:192.0.2.1')).busy).toContain('192.0.2.1');
    for (const other of ['127.0.0.1', '::1', '192.0.2.2', '192.0.2.2', '2001:db8::1', '2001:db8::2'])
      expect(enter(from(other)).busy).toBe(undefined);
    expect(enter(from('192.0.2.3')).busy).toContain('8 requests wait');
    first.leave?.();
    first.leave?.();
    expect(enter(from(undefined)).busy).toContain('this host');
    expect(enter(from('192.0.2.3')).busy).toBe(undefined);
    expect(enter(from('192.0.2.4')).busy).toContain('8 requests wait');
  });

  it('take none of api_max_concurrent', () => {
    const { enter, admit } = gate(
      () => 1,
      () => 0,
      limits,
    );
    for (let each = 0; each < 8; each += 1) enter(from(`192.0.2.${each}`));
    expect(admit(from('192.0.2.9'), '', false).busy).toBe(undefined);
    expect(admit(from('192.0.2.9'), '', false).busy).toContain('1 requests are under way');
  });
});

it('scrapes have places of their own, other methods and paths of that kind have not', () => {
  const { enter } = gate(
    () => 1,
    () => 1,
    limits,
  );
  const first = enter(from('192.0.2.1', '/metrics'));
  expect(enter(from('192.0.2.1', '/metrics')).busy).toBe(undefined);
  expect(enter(from('192.0.2.2', '/metrics')).busy).toContain('2 requests for metrics');
  expect(enter(from('192.0.2.2', '/metrics', 'POST')).busy).toBe(undefined);
  expect(enter(from('192.0.2.2', '/metrics/')).busy).toBe(undefined);
  expect(enter(from('192.0.2.2')).busy).toContain('for 192.0.2.2');
  first.leave?.();
  expect(enter(from('192.0.2.2', '/metrics')).busy).toBe(undefined);
});

it('what clients have left behind takes places', () => {
  let calls = 2;
  const { admit } = gate(
    () => 2,
    () => calls,
    limits,
  );
  expect(admit(from(), '', false).busy).toContain('2 requests are under way');
  calls = 1;
  expect(admit(from(), '', false).busy).toBe(undefined);
});

it('streams that watch take places of their own, and some of a user or an address', () => {
  const { admit } = gate(
    () => 1,
    () => 0,
    limits,
  );
  const watch = (address: string, user = '') => admit(from(address), user, true);
  expect(watch('192.0.2.1', 'alice').busy).toBe(undefined);
  const second = watch('192.0.2.2', 'alice');
  expect(watch('192.0.2.3', 'alice').busy).toContain('2 streams watch runs for user alice');
  expect(watch('192.0.2.1').busy).toBe(undefined);
  expect(admit(from('192.0.2.1'), 'alice', false).busy).toBe(undefined);
  expect(watch('192.0.2.1').busy).toBe(undefined);
  expect(watch('192.0.2.4', 'bob').busy).toContain('4 streams');
  second.leave?.();
  expect(watch('192.0.2.4', 'bob').busy).toBe(undefined);
});
