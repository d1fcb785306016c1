import { EventEmitter } from 'node:events';
import type { NextFunction, Request, RequestHandler, Response } from 'express';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { memoryEventLog } from '../../../../../src/adapters/memory/event-log.js';
import { headerLines, noRebinding, requestRate } from '../../../../../src/apps/api/serve/protection.js';

interface Asked {
  readonly from?: string;
  readonly path?: string;
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly rawHeaders?: readonly string[];
  readonly httpVersion?: string;
  readonly encrypted?: true;
}

/** Gives a request to a layer: `next`, or the status and headers of its answer. */
function ask(layer: RequestHandler, asked: Asked) {
  const { from, path = '/run', method = 'GET', headers = {}, rawHeaders = [] } = asked;
  const { httpVersion = '1.1', encrypted } = asked;
  const told: { status?: number; next?: true; headers: Record<string, string> } = { headers: {} };
  const response = Object.assign(new EventEmitter(), {
    setHeader: (name: string, value: string) => {
      told.headers[name] = value;
    },
    locals: {},
    req: { path },
    writeHead(code: number) {
      told.status = code;
      return this;
    },
    end: () => undefined,
  });
  const socket = { remoteAddress: from, ...(encrypted && { encrypted }) };
  const request = { socket, path, method, headers, rawHeaders, httpVersion };
  const next = (() => {
    told.next = true;
  }) as NextFunction;
  layer(request as unknown as Request, response as unknown as Response, next);
  return { ...told, end: () => response.emit('close') };
}

const settings = (limit = 3) => ({
  apiRateLimit: { limit, window: 60, block: 30 },
});

describe('the rate of requests', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it('above api_rate_limit a source is refused for as long as it says, others are not', () => {
    const events = memoryEventLog();
    const layer = requestRate(() => settings(), events);
    for (let count = 0; count < 3; count += 1) expect(ask(layer, { from: '192.0.2.1' }).next).toBe(true);
    expect(ask(layer, { from: '192.0.2.1' })).toMatchObject({
      status: 429,
      headers: { 'Retry-After': '30' },
    });
    vi.advanceTimersByTime(20_500);
    expect(ask(layer, { from: '::ffff:192.0.2.1' })).toMatchObject({
      status: 429,
      headers: { 'Retry-After': '10' },
    });
    expect(ask(layer, { from: '192.0.2.2' }).next).toBe(true);
    vi.advanceTimersByTime(10_000);
    expect(ask(layer, { from: '192.0.2.1' }).next).toBe(true);
    expect(events.events.map(({ action, fields }) => ({ action, ...fields }))).toMatchObject([
      { action: 'source-limited', source: '192.0.2.1', limit: 'api_rate_limit', seconds: 30 },
      { action: 'source-released', source: '192.0.2.1', met: 2 },
    ]);
  });

  it('addresses of one IPv6 /64 are one source', () => {
    const layer = requestRate(() => settings(1), memoryEventLog());
    expect(ask(layer, { from: '2001:db8::1' }).next).toBe(true);
    expect(ask(layer, { from: '2001:db8::2' }).status).toBe(429);
    expect(ask(layer, { from: '2001:db8:0:1::2' }).next).toBe(true);
  });

  it('this host and the Unix socket are not limited', () => {
    const layer = requestRate(() => settings(1), memoryEventLog());
    for (const from of ['127.0.0.1', '127.0.0.1', '::1', '::1', '::ffff:127.0.0.2', '::ffff:127.0.0.2'])
      expect(ask(layer, { from }).next).toBe(true);
    for (let count = 0; count < 3; count += 1) expect(ask(layer, {}).next).toBe(true);
  });
});

describe('headers', () => {
  const lines = (count: number) => Array.from({ length: count }, (_, index) => [`x-${index}`, '']).flat();

  it('of more lines than are taken are 431, with two Hosts or none 400', () => {
    const layer = headerLines({ headerLines: 4 });
    expect(ask(layer, { rawHeaders: ['Host', 'a', ...lines(3)] }).next).toBe(true);
    expect(ask(layer, { rawHeaders: ['Host', 'a', ...lines(4)] }).status).toBe(431);
    expect(ask(layer, { rawHeaders: ['Host', 'a', 'hOST', 'a'] }).status).toBe(400);
    expect(ask(layer, { rawHeaders: ['X', 'Host', 'Host', 'host'] }).next).toBe(true);
    expect(ask(layer, { rawHeaders: ['X', 'Host'] }).status).toBe(400);
    expect(ask(layer, { rawHeaders: ['X', 'y'], httpVersion: '1.0' }).next).toBe(true);
  });
});

describe('the Host of a request', () => {
  const open = { apiAuthDefault: 'allow', authHook: undefined } as const;
  const from = '127.0.0.1';
  const asked = (
    host: string | undefined,
    more: Partial<Asked> = {},
    is: Parameters<typeof noRebinding>[0] = () => open,
  ) => {
    const { status, next } = ask(noRebinding(is), {
      from,
      headers: host === undefined ? {} : { host },
      ...more,
    });
    return next ?? status;
  };

  it.each([
    'localhost',
    'LocalHost:7445',
    '127.0.0.1',
    '127.0.0.1:7445',
    '[::1]',
    '[::1]:7445',
    '192.0.2.1:80',
  ])('%s cannot have been made to resolve to this host', (host) => expect(asked(host)).toBe(true));

  it.each([
    'evil.example',
    'evil.example:7445',
    'localhost.evil.example',
    '127.0.0.1.evil.example:7445',
    'evil.localhost:80:',
    '',
    '127.1',
    '[evil.example]',
    'localhost:7445:evil.example',
  ])('%s is refused where nobody is asked for credentials', (host) => expect(asked(host)).toBe(403));

  it('is any where a hook is asked, where everything is denied, with TLS, by the Unix socket', () => {
    expect(asked('api.example', {}, () => ({ ...open, authHook: '/etc/hook' }))).toBe(true);
    expect(asked('api.example', {}, () => ({ ...open, apiAuthDefault: 'deny' }))).toBe(true);
    expect(asked('api.example', { encrypted: true })).toBe(true);
    expect(
      ask(
        noRebinding(() => open),
        { headers: { host: 'api.example' } },
      ).next,
    ).toBe(true);
  });

  it('may be missing, as in HTTP/1.0', () => expect(asked(undefined)).toBe(true));
});
