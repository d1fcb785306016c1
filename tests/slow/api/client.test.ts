import { createServer as createHttpServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, connect, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import express from 'express';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createApiClient, type RunStreamEvent } from '../../../src/apps/library/client.js';
import { createApiRouter } from '../../../src/apps/library/express.js';
import { openDispatcher } from '../../../src/apps/library/index.js';
import { failure, value } from '../../contract/result.js';
import { atEnd, freePort, shared, temporaryDirectory } from '../../support/commands/commands.js';
import { gate, pairedFleet } from '../../support/fleet/fleet.js';

const closed = (server: { close(done: () => void): unknown }) =>
  new Promise<void>((resolve) => void server.close(resolve));

async function listen(server: Server, where: number | string = 0): Promise<string> {
  await new Promise<void>((resolve) =>
    typeof where === 'string' ? server.listen(where, resolve) : server.listen(where, '127.0.0.1', resolve),
  );
  atEnd(() => {
    server.closeAllConnections();
    return closed(server);
  });
  return typeof where === 'string' ? where : `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A real dispatcher, a real agent, and the API mounted under a path. */
const fleet = shared(async () => {
  const counted = gate();
  counted.open();
  const scripts = {
    greet: '#!/bin/sh\necho "hello $1"\necho oops >&2\n',
    counted: counted.script,
    bad: '#!/bin/sh\nexit 3\n',
    leaves:
      '#!/bin/sh\n(i=0; while [ $i -lt 40 ]; do echo x; sleep 0.05; i=$((i+1)); done) & echo started; exit 0\n',
    binary: "#!/bin/sh\nprintf 'a\\377b'\n",
  };
  const web = { name: 'web-01', conf: '[tags]\nenv = prod\n', scripts, serves: true };
  const { control } = await pairedFleet({ web }, 'api_auth_default = allow\n');
  const dispatcher = await openDispatcher({ home: control.home });
  atEnd(() => dispatcher.close());
  const app = express().use('/fleet', createApiRouter({ dispatcher }));
  const url = await listen(createHttpServer(app));
  const socketPath = join(temporaryDirectory(), 'api.sock');
  await listen(createHttpServer(app), socketPath);
  return { url: `${url}/fleet`, socketPath, counted };
});

const client = (options: Partial<Parameters<typeof createApiClient>[0]> = {}) => {
  const made = createApiClient({ url: fleet().url, ...options });
  onTestFinished(() => made.close());
  return made;
};

/** An API that answers like this. */
async function answering(
  handle: RequestListener,
  options: Partial<Parameters<typeof createApiClient>[0]> = {},
) {
  return client({ url: await listen(createHttpServer(handle)), ...options });
}

describe('the client of a real API', () => {
  it('asks what there is to ask', async () => {
    const api = client();
    expect(value(await api.health()).version).toMatch(/^\d/);
    expect(value(await api.ping({ hosts: ['web-01'] })).results[0]).toMatchObject({
      status: 'ok',
    });
    const found = value(await api.discover()).hosts['web-01'];
    expect(found?.status === 'ok' && found.scripts.map(({ name }) => name)).toEqual([
      'bad',
      'binary',
      'counted',
      'greet',
      'leaves',
    ]);
    expect(value(await api.agents({ tags: 'env=prod', limit: 5 })).agents).toHaveLength(1);
    expect(value(await api.agent('web-01')).agent.name).toBe('web-01');
    expect(value(await api.pairingRequests()).requests).toEqual([]);
    expect(value(await api.certificates()).agents[0]?.name).toBe('web-01');
    expect(value(await api.serialStatus()).agents[0]?.state).toBe('current');
    expect(value(await api.locks()).locks).toEqual([]);
    expect(value(await api.editAgent('web-01', { lookup_by: 'ip' })).agent.lookup_by).toBe('ip');
  });

  it('runs, and finds the run again', async () => {
    const api = client();
    const run = value(await api.run({ tags: { env: 'prod' }, script: 'greet', args: ['you'] }));
    expect(run.results).toMatchObject([{ host: 'web-01', exit: 0, stdout: 'hello you\n', stderr: 'oops\n' }]);
    expect(run).not.toHaveProperty('ok');
    expect(value(await api.status(run.reqid))).toMatchObject({ mode: 'sync', complete: true });
    const listed = value(await api.runs({ script: 'greet', limit: 1 }));
    expect(listed.runs[0]).toMatchObject({ reqid: run.reqid, outcome: 'succeeded' });
    const failed = value(await api.run({ hosts: ['web-01'], script: 'bad' }));
    expect(value(await api.retry(failed.reqid)).results).toMatchObject([{ exit: 3 }]);
    expect(value(await api.cancel(failed.reqid)).results).toMatchObject([{ host: 'web-01' }]);
  });

  it('submits, and watches the end', async () => {
    const api = client();
    const { reqid } = value(await api.submit({ hosts: ['web-01'], script: 'greet' }));
    const seen = [];
    for await (const { event } of api.watch(reqid)) seen.push(event);
    expect(seen[0]).toBe('status');
    expect(seen.at(-1)).toBe('end');
  });

  it('follows output, whose last event is the end', async () => {
    const seen: RunStreamEvent[] = [];
    for await (const event of client().stream({ hosts: ['web-01'], script: 'greet', args: ['you'] }))
      seen.push(event);
    const text = seen.flatMap((each) =>
      each.event === 'output' && each.data.stream === 'stdout' ? [each.data.text] : [],
    );
    expect(text.join('')).toBe('hello you\n');
    expect(seen[0]?.event).toBe('begin');
    expect(seen.at(-1)).toMatchObject({ event: 'end', data: { failed: [] } });
  });

  it('follows a script that leaves a writer behind to a result that is vouched for', async () => {
    const seen: RunStreamEvent[] = [];
    for await (const event of client().stream({ hosts: ['web-01'], script: 'leaves' })) seen.push(event);
    const results = seen.flatMap((each) => (each.event === 'result' ? [each.data] : []));
    expect(results).toMatchObject([
      {
        state: 'succeeded',
        exit: 0,
        left_behind: { pids: expect.arrayContaining([expect.any(Number)]) },
      },
    ]);
    expect(seen.at(-1)).toMatchObject({ event: 'end', data: { failed: [] } });
  });

  it('has the bytes of output that is not UTF-8', async () => {
    const { results } = value(await client().run({ hosts: ['web-01'], script: 'binary' }));
    expect(results).toMatchObject([{ stdout: 'a\ufffdb', stdout_base64: 'Yf9i' }]);
  });

  it('speaks over a Unix socket', async () => {
    const api = createApiClient({ socketPath: fleet().socketPath, url: 'http://localhost/fleet' });
    expect((await api.health()).isOk()).toBe(true);
    await api[Symbol.asyncDispose]();
    expect(failure(await api.health()).code).toBe('aborted');
  });

  it('tells what the API refuses as one of a closed union', async () => {
    const api = client();
    expect(failure(await api.status('0123456789abcdef'))).toMatchObject({ code: 'not_found' });
    for (const id of ['', '.', '..']) expect(failure(await api.agent(id)).code).toBe('invalid_argument');
    expect(failure(await api.agent('../locks')).code).toMatch(/^(not_found|invalid_argument)$/);
    expect(failure(await api.run({ hosts: [], script: 'greet' }))).toMatchObject({
      code: 'invalid_argument',
      field: 'hosts',
    });
    const key = { idempotencyKey: 'one' };
    await api.run({ hosts: ['web-01'], script: 'greet', args: ['a'] }, key);
    const other = await api.run({ hosts: ['web-01'], script: 'greet', args: ['b'] }, key);
    expect(failure(other)).toMatchObject({ code: 'idempotency_mismatch', field: 'args' });
    for await (const event of api.watch('0123456789abcdef'))
      expect(event).toMatchObject({ event: 'error', error: { code: 'not_found' } });
  });

  it('a run whose answer got lost on the way is asked for again, and has run once', async () => {
    const { url, counted } = fleet();
    const { port, pathname } = new URL(url);
    let connections = 0;
    // Lets a whole request through, and breaks the first connection off when its answer comes.
    const proxy = createTcpServer((near) => {
      connections += 1;
      const first = connections === 1;
      const far = connect(Number(port), '127.0.0.1');
      for (const socket of [near, far]) socket.on('error', () => undefined);
      near.pipe(far);
      far.on('data', (bytes) => (first ? near.resetAndDestroy() : near.write(bytes)));
      far.on('close', () => near.destroy());
      near.on('close', () => far.destroy());
    });
    const place = await new Promise<number>((resolve) =>
      proxy.listen(0, '127.0.0.1', () => resolve((proxy.address() as AddressInfo).port)),
    );
    onTestFinished(() => closed(proxy));
    const before = counted.starts();
    const api = client({ url: `http://127.0.0.1:${place}${pathname}` });
    const run = value(await api.run({ hosts: ['web-01'], script: 'counted' }));
    expect(run.results).toMatchObject([{ exit: 0, stdout: 'done\n' }]);
    expect(connections).toBe(2);
    expect(counted.starts()).toBe(before + 1);
    await api.close();
  });
});

describe('what is sent', () => {
  it('a run has an idempotency key of its own, the same when it is sent again', async () => {
    const keys: unknown[] = [];
    const api = await answering((request, response) => {
      keys.push(request.headers['idempotency-key']);
      if (keys.length <= 2) request.socket.destroy();
      else response.end('{"ok":true,"reqid":"1","results":[]}');
    });
    expect((await api.run({ hosts: ['a'], script: 's' })).isOk()).toBe(true);
    expect((await api.run({ hosts: ['a'], script: 's' })).isOk()).toBe(true);
    expect(keys).toHaveLength(4);
    expect(new Set(keys.slice(0, 3)).size).toBe(1);
    expect(keys[0]).toMatch(/^[\x20-\x7e]{16,255}$/);
    expect(keys[3]).not.toBe(keys[0]);
  });

  it('what changes something and has no key is never sent again', async () => {
    let asked = 0;
    const api = await answering((request) => {
      asked += 1;
      request.socket.destroy();
    });
    for (const answer of [api.unpair('a'), api.deny('01234567'), api.cancel('0123456789abcdef')])
      expect(failure(await answer).code).toBe('connection_failed');
    expect(asked).toBe(3);
    expect(failure(await api.locks()).code).toBe('connection_failed');
    expect(asked).toBe(6);
  });

  it('credentials go in a header, and in no error', async () => {
    let seen: string | undefined;
    const api = await answering(
      (request, response) => {
        seen = request.headers.authorization;
        response.statusCode = 403;
        response.end('{"ok":false,"error":"denied","code":2}');
      },
      { username: 'alice', token: 'hush-hush' },
    );
    const error = failure(await api.locks());
    expect(error).toMatchObject({ code: 'denied', reason: 'denied', hookCode: 2 });
    expect(JSON.stringify(error)).not.toContain('hush');
    expect(Buffer.from(seen?.replace('Basic ', '') ?? '', 'base64').toString()).toBe('alice:hush-hush');
  });

  it.each([
    ['no address', { url: 'control:7445/x y' }, 'url'],
    ['another protocol', { url: 'ftp://control' }, 'url'],
    ['credentials in the address', { url: 'https://a:b@control' }, 'url'],
    ['a token that everybody on the way could read', { url: 'http://control:7445', token: 't' }, 'url'],
    ['a name that would be cut', { username: 'a:b' }, 'username'],
    ['too many retries', { retries: 11 }, 'retries'],
  ])('nothing, with %s', async (_what, options, field) => {
    const api = client(options);
    expect(failure(await api.health())).toMatchObject({ code: 'invalid_argument', field });
    for await (const event of api.stream({ hosts: ['a'], script: 's' }))
      expect(event).toMatchObject({ event: 'error', error: { code: 'invalid_argument' } });
  });
});

describe('what answers otherwise', () => {
  const codeOf = async (handle: RequestListener, options = {}) =>
    failure(await (await answering(handle, options)).locks());

  it('is no API of ours', async () => {
    expect((await codeOf((_, response) => response.end('<html>'))).code).toBe('protocol_violation');
    expect((await codeOf((_, response) => response.end('{}'))).code).toBe('protocol_violation');
    expect((await codeOf((_, response) => response.end('null'))).code).toBe('protocol_violation');
    expect((await codeOf((_, response) => response.writeHead(502).end('{"error":7}'))).code).toBe(
      'connection_failed',
    );
    const moved = (_: unknown, response: Parameters<RequestListener>[1]) =>
      response.writeHead(307, { location: fleet().url }).end('{}');
    expect((await codeOf(moved)).code).toBe('protocol_violation');
  });

  it('is told within bounds, in one line', async () => {
    expect(
      await codeOf((_, response) => response.end(`{"ok":true,"locks":"${'x'.repeat(2000)}"}`), {
        maxAnswer: 1000,
      }),
    ).toMatchObject({ code: 'too_large', limit: 1000 });
    const { message } = await codeOf((_, response) =>
      response
        .writeHead(500)
        .end(JSON.stringify({ ok: false, error: 'x', detail: `a\n\u001b[2J${'y'.repeat(9000)}` })),
    );
    expect(message).not.toMatch(/[\p{Cc}]/u);
    expect(message.length).toBeLessThan(600);
  });

  it('may say when to try again, who holds a lock, and that a key is of somebody else', async () => {
    const busy = (_: unknown, response: Parameters<RequestListener>[1]) =>
      response.writeHead(503, { 'retry-after': '7' }).end('{"ok":false,"error":"busy"}');
    expect(await codeOf(busy)).toMatchObject({ code: 'unavailable', reason: 'busy', retryAfter: 7 });
    const ending = (_: unknown, response: Parameters<RequestListener>[1]) =>
      response.writeHead(503).end('{"ok":false,"error":"aborted","detail":"the API is ending"}');
    expect(await codeOf(ending)).toEqual({ code: 'aborted', message: 'the API is ending' });
    const locked = (_: unknown, response: Parameters<RequestListener>[1]) =>
      response.writeHead(409).end('{"ok":false,"error":"locked","code":4,"conflicts":["a:b"]}');
    expect(await codeOf(locked)).toMatchObject({ code: 'locked', conflicts: ['a:b'] });
    const taken = (_: unknown, response: Parameters<RequestListener>[1]) =>
      response.writeHead(409).end('{"ok":false,"error":"idempotency_mismatch","field":"caller"}');
    expect(await codeOf(taken)).toMatchObject({ code: 'idempotency_mismatch', field: 'caller' });
  });

  it('nobody is a connection that failed, and a signal ends the waiting', async () => {
    const nobody = client({ url: `http://127.0.0.1:${await freePort()}`, retries: 0 });
    expect(failure(await nobody.locks())).toMatchObject({
      code: 'connection_failed',
      reason: 'ECONNREFUSED',
    });
    const controller = new AbortController();
    const api = await answering(() => controller.abort());
    expect(failure(await api.locks({ signal: controller.signal })).code).toBe('aborted');
  });

  it.each([
    ['that is followed by none', 'event: status\ndata: {}\n\n', ['status', 'connection_failed']],
    ['of an unknown kind is left out', 'event: new\ndata: {}\n\nevent: end\ndata: {}\n\n', ['end']],
    ['after the end is nobody’s', 'event: end\ndata: {}\n\nevent: begin\ndata: {}\n\n', ['end']],
    ['that is no JSON', 'event: begin\ndata: {\n\n', ['protocol_violation']],
    ['that is too large', `event: begin\ndata: {"x":"${'x'.repeat(2000)}"}\n\n`, ['too_large']],
    ['of an error', 'event: error\ndata: {"ok":false,"error":"aborted"}\n\n', ['refused']],
    ['with other line ends and comments', ': hi\r\nevent:end\r\ndata:{}\r\n\r\n', ['end']],
  ])('an event %s', async (_what, text, expected) => {
    const api = await answering(
      (_, response) => response.writeHead(200, { 'content-type': 'text/event-stream' }).end(text),
      { maxAnswer: 1000 },
    );
    const seen: string[] = [];
    for await (const event of api.watch('0123456789abcdef'))
      seen.push(event.event === 'error' ? event.error.code : event.event);
    expect(seen).toEqual(expected);
  });

  it('whoever leaves the loop ends the request', async () => {
    let gone: () => void = () => undefined;
    const over = new Promise<void>((resolve) => {
      gone = resolve;
    });
    const api = await answering((_, response) => {
      response.once('close', gone);
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write('event: begin\ndata: {}\n\n');
    });
    for await (const { event } of api.stream({ hosts: ['a'], script: 's' })) {
      expect(event).toBe('begin');
      break;
    }
    await over;
  });
});
