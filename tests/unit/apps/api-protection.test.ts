import { EventEmitter } from 'node:events';
import type { NextFunction, Request, RequestHandler, Response } from 'express';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { memoryEventLog } from '../../../src/adapters/memory/event-log.js';
import { concurrency, headerLines, noOtherSites, requestRate } from '../../../src/apps/api/protection.js';

interface Asked {
  readonly from?: string;
  readonly path?: string;
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly rawHeaders?: readonly string[];
  readonly httpVersion?: string;
}

/** Gives a request to a layer: `next`, or the status and headers of its answer. */
function ask(layer: RequestHandler, asked: Asked) {
  const { from, path = '/run', method = 'GET', headers = {}, rawHeaders = [] } = asked;
  const { httpVersion = '1.1' } = asked;
  const told: { status?: number; next?: true; headers: Record<string, string> } = { headers: {} };
  const response = Object.assign(new EventEmitter(), {
    setHeader: (name: string, value: string) => {
      told.headers[name] = value;
    },
    status(code: number) {
      told.status = code;
      return this;
    },
    json: () => undefined,
  });
  const request = { socket: { remoteAddress: from }, path, method, headers, rawHeaders, httpVersion };
  const next = (() => {
    told.next = true;
  }) as NextFunction;
  layer(request as unknown as Request, response as unknown as Response, next);
  return { ...told, end: () => response.emit('close') };
}

const settings = (limit = 3) => ({
  apiMaxConcurrent: 2,
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

describe('how many at a time', () => {
  it('above api_max_concurrent 503 with Retry-After, until one has ended', () => {
    const layer = concurrency(
      () => settings(),
      () => 0,
    );
    const first = ask(layer, {});
    expect(ask(layer, {}).next).toBe(true);
    expect(ask(layer, {})).toMatchObject({ status: 503, headers: { 'Retry-After': '1' } });
    first.end();
    expect(ask(layer, {}).next).toBe(true);
    expect(ask(layer, {}).status).toBe(503);
  });

  it('health and metrics always get through, other methods and paths of that kind do not', () => {
    const layer = concurrency(
      () => settings(),
      () => 2,
    );
    expect(ask(layer, { path: '/health' }).next).toBe(true);
    expect(ask(layer, { path: '/metrics' }).next).toBe(true);
    expect(ask(layer, { path: '/health', method: 'POST' }).status).toBe(503);
    expect(ask(layer, { path: '/health/' }).status).toBe(503);
  });

  it('what clients have left behind counts', () => {
    let calls = 2;
    const layer = concurrency(
      () => settings(),
      () => calls,
    );
    expect(ask(layer, {}).status).toBe(503);
    calls = 1;
    expect(ask(layer, {}).next).toBe(true);
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

  it.each([
    [{}, true],
    [{ 'sec-fetch-site': 'same-origin', origin: 'http://127.0.0.1:7445' }, true],
    [{ 'sec-fetch-site': 'none' }, true],
    [{ origin: 'http://[::1]:7445' }, true],
    [{ origin: 'http://localhost:7445' }, true],
    [{ origin: 'https://api.example.org' }, true],
    [{ 'sec-fetch-site': 'cross-site' }, false],
    [{ 'sec-fetch-site': 'same-site' }, false],
    // As a name that was made to resolve to this host would look.
    [{ origin: 'http://evil.example:7445' }, false],
    [{ origin: 'null' }, false],
  ])('of a browser, %j: %j', (headers, passes) => {
    const { status, next } = ask(noOtherSites, { headers });
    expect(passes ? next : status).toBe(passes ? true : 403);
  });
});
