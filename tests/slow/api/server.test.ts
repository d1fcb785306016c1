import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { authHook, serveApi, setSettings, stopsListening } from '../../support/api/process.js';
import {
  type DispatcherOnDisk,
  dispatcherOnDisk,
  freePort,
  run,
  shared,
  temporaryDirectory,
} from '../../support/commands/commands.js';
import { eventually } from '../../support/fleet/fleet.js';
import { openTcp } from '../../support/network/raw-tls.js';

const control = shared(() => dispatcherOnDisk());
const serve = (conf = '', args: readonly string[] = ['--port', '0']) => {
  setSettings(control(), `api_auth_default = allow\n${conf}`);
  return serveApi(control().home, args);
};

describe('what keeps it from serving', () => {
  const tried = async (
    conf: string,
    args: readonly string[] = ['--port', '0'],
    at: DispatcherOnDisk = control(),
  ) => {
    setSettings(at, conf);
    return run('ctrl-exec-api', args, { home: at.home });
  };

  it.each([
    ['api_port = 70000', /^\/.*ctrl-exec\.conf:3: api_port is "70000", expected .*65535.*\n$/],
    ['api_rate_limit = many', /^\/.*:3: api_rate_limit is "many", expected limit\/window\/block.*\n$/],
    ['api_cert = /nowhere.crt', /^\/.*:3: api_cert is set without api_key, expected both or neither\n$/],
    ['api_cert = /nowhere.crt\napi_key = /nowhere.key', /^cannot read \/nowhere\.crt: ENOENT.*\n$/],
    ['api_bind = nowhere.invalid', /api_bind nowhere\.invalid does not resolve, expected an IP address.*\n$/],
    [`api_socket = /${'x'.repeat(107)}`, /api_socket is too long, expected at most 107 bytes\n$/],
  ])('a mistake in the configuration, %s: one line, exit 78', async (conf, said) => {
    const { code, stdout, stderr } = await tried(conf);
    expect(stderr).toMatch(said);
    expect(stderr.trimEnd()).not.toContain('\n');
    expect({ code, stdout }).toEqual({ code: 78, stdout: '' });
  });

  it.each([
    ['api_bind = 0.0.0.0', ['--port', '0']],
    ['api_bind = ::', ['--port', '0']],
    ['', ['--port', '0', '--bind', '0.0.0.0']],
    ['api_socket = api.sock', ['--bind', '192.0.2.1']],
  ])('plain HTTP where other hosts reach it, %j %j: what to set, exit 78', async (conf, args) => {
    const { code, stderr } = await tried(conf, args);
    expect(stderr).toMatch(/without TLS: expected api_cert and api_key, an api_bind of 127\.0\.0\.1/);
    expect(code).toBe(78);
  });

  it('no CA and no identity yet: exit 78 and what to run', async () => {
    const { code, stderr } = await run('ctrl-exec-api', ['--port', '0'], { home: temporaryDirectory() });
    expect(stderr).toMatch(/^there is no CA yet: run `ctrl-exec setup-ca` first\n$/);
    expect(code).toBe(78);
  });

  it('a port that is taken: one line, exit 1', async () => {
    const first = await serve();
    const { code, stderr } = await tried('', ['--port', String(first.port)]);
    const [announced, ...refused] = stderr.trimEnd().split('\n');
    expect(announced).toMatch(/^Serving the dispatcher of /);
    expect(refused).toEqual([
      `cannot listen on 127.0.0.1 port ${first.port}: EADDRINUSE, another process listens there`,
    ]);
    expect(code).toBe(1);
  });

  it('a command line that cannot be understood: exit 64', async () => {
    const { code, stderr } = await run('ctrl-exec-api', ['--port', 'x'], {});
    expect(stderr).toContain('a whole number from 0 to 65535 is expected');
    expect(code).toBe(64);
  });
});

describe('before it listens', () => {
  it('it says which home, who decides, and where', async () => {
    const { home } = control();
    const hook = authHook(control());
    setSettings(control(), `auth_hook = ${hook}`);
    const api = await serveApi(home, ['--port', '0']);
    expect(api.process.output('stderr').split('\n')[0]).toBe(
      `Serving the dispatcher of ${home} (configuration ${home}/ctrl-exec.conf, state ${home}/state, auth hook ${hook}) on http://127.0.0.1:0`,
    );
  });

  it('it warns that everything is denied, and a 403 has its cause in the log, with the id of the request', async () => {
    setSettings(control(), 'auth_deny_generic = on');
    const api = await serveApi(control().home);
    await api.process.shows(/ACTION=warning REASON=".*so every request is refused \(403\)/, 'stderr');
    const answer = await api.ask('/v1/locks', { headers: { 'x-request-id': 'why' } });
    expect([answer.status, answer.text]).toEqual([403, '{"ok":false,"error":"forbidden"}']);
    await api.process.shows(/ACTION=denied API_REQUEST=why .*REASON="no auth_hook is set/, 'stderr');
    await api.process.shows(/ACTION=api-request API_REQUEST=why .*REASON=denied .*STATUS=403/, 'stderr');
    const foreign = await api.ask('/v1/locks', { headers: { 'x-request-id': 'far', origin: 'http://evil' } });
    expect(foreign.status).toBe(403);
    await api.process.shows(/API_REQUEST=far .*REASON="requests of other sites/, 'stderr');
  });

  it('with api_plain_http it is about to listen without TLS where other hosts reach it', async () => {
    setSettings(control(), 'api_auth_default = allow\napi_plain_http = yes');
    // An address that this host does not have: nothing of the test may listen beyond loopback.
    const args = ['--port', '0', '--bind', '192.0.2.1'];
    const { code, stderr } = await run('ctrl-exec-api', args, { home: control().home });
    expect({ code, stderr }).toMatchObject({ code: 1 });
    expect(stderr).toMatch(
      /^Serving the dispatcher of .* on http:\/\/192\.0\.2\.1:0\ncannot listen on 192\.0\.2\.1/,
    );
  });
});

describe('every answer', () => {
  it('has a request id, which the log has as well, and tells browsers and caches to stay away', async () => {
    const api = await serve();
    const health = await api.ask('/health');
    expect(health.json).toEqual({ ok: true, version: expect.any(String) });
    for (const answer of [health, await api.ask('/no/such/route?token=secret')]) {
      const id = String(answer.headers['x-request-id']);
      expect(id).toMatch(/^[0-9a-f]{16}$/);
      expect(answer.headers).toMatchObject({
        'cache-control': 'no-store',
        'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
        'x-content-type-options': 'nosniff',
      });
      expect(answer.headers).not.toHaveProperty('x-powered-by');
      expect(answer.headers).not.toHaveProperty('access-control-allow-origin');
      await api.process.shows(new RegExp(`ACTION=api-request API_REQUEST=${id} .*`), 'stderr');
    }
    const log = api.process.output('stderr');
    expect(log).toMatch(/API_REQUEST=\S+ IP=127\.0\.0\.1 METHOD=GET MS=\d+ PATH=\/health STATUS=200\n/);
    expect(log).toMatch(/PATH=- STATUS=404\n/);
    expect(log).not.toContain('secret');
  });

  it.each([
    { 'sec-fetch-site': 'cross-site' },
    { 'sec-fetch-site': 'same-site' },
    { origin: 'http://evil.example' },
    { origin: 'null' },
  ])('is a refusal where a page of another site has asked: %j', async (headers) => {
    const api = await serve();
    const { status, json } = await api.ask('/metrics', { headers });
    expect({ status, error: json.error }).toEqual({ status: 403, error: 'forbidden' });
  });

  it('is a refusal where a name was made to resolve to this host, unless the hook asks for credentials', async () => {
    const api = await serve();
    const headers = { host: `evil.example:${api.port}`, 'sec-fetch-site': 'same-origin' };
    const refused = await api.ask('/v1/agents', { headers });
    expect([refused.status, refused.json.detail]).toEqual([403, expect.stringContaining('set auth_hook')]);
    expect((await api.ask('/v1/agents', { headers: { host: `localhost:${api.port}` } })).status).toBe(200);
    setSettings(control(), `auth_hook = ${authHook(control())}`);
    await api.reload();
    expect((await api.ask('/v1/agents', { headers })).status).toBe(200);
  });
});

describe('a reload', () => {
  it('that cannot be used leaves everything as it was, and says why', async () => {
    const api = await serve('api_max_concurrent = 5');
    setSettings(control(), 'api_max_concurrent = many');
    expect(await api.reload()).toMatch(/REASON=".*:3: api_max_concurrent is \\"many\\", expected/);
    expect((await api.ask('/health')).status).toBe(200);
    setSettings(control(), 'api_max_concurrent = 6\napi_port = 1');
    expect(await api.reload()).toBe('ACTION=api-reload');
    await api.process.shows(/ACTION=warning REASON=".*: api_port will hold after a restart"/, 'stderr');
    expect((await api.ask('/health')).status).toBe(200);
    expect((await api.process.stop()).code).toBe(0);
  });

  it('that comes before it listens does not end it', async () => {
    setSettings(control(), 'api_auth_default = allow');
    const api = serveApi(control().home);
    const { process } = await api;
    process.child.kill('SIGHUP');
    process.child.kill('SIGHUP');
    await eventually(() =>
      expect(process.output('stderr').match(/ACTION=api-reload\n/g)?.length).toBeGreaterThan(0),
    );
    expect((await process.stop()).code).toBe(0);
  });
});

describe('the end', () => {
  it('by SIGTERM or SIGINT: nothing listens any more, exit 0, and the log says so', async () => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      const api = await serve();
      const ended = await api.process.stop(signal);
      expect(ended).toMatchObject({ code: 0, signal: null, stdout: '' });
      expect(ended.stderr).toMatch(/ACTION=api-stop ADDRESS=http:\/\/127\.0\.0\.1:\d+\n$/);
      await stopsListening(api.port);
    }
  });

  it('does not wait for connections that ask nothing', async () => {
    const api = await serve();
    const idle = connect({ host: '127.0.0.1', port: api.port });
    const half = connect({ host: '127.0.0.1', port: api.port });
    for (const socket of [idle, half]) {
      socket.on('error', () => undefined);
      await new Promise((resolve) => socket.once('connect', resolve));
    }
    half.write('GET /health HTTP/1.1\r\n');
    expect((await api.ask('/health')).status).toBe(200);
    const began = performance.now();
    expect((await api.process.stop()).code).toBe(0);
    expect(performance.now() - began).toBeLessThan(10_000);
  });
});

it('the end does not wait for requests that waited on connections that broke', async () => {
  const hook = authHook(control(), 'sleep 1');
  const api = await serve(`auth_hook = ${hook}`);
  const sockets = await Promise.all(Array.from({ length: 10 }, () => openTcp(api.port)));
  for (const socket of sockets) socket.write('GET /v1/agents HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(2));
  // What came before has been read when this is answered.
  expect((await api.ask('/health')).status).toBe(200);
  for (const socket of sockets) socket.resetAndDestroy();
  await api.process.shows(/(?:PATH=\S+ STATUS=499[\s\S]*?){20}/, 'stderr');
  const began = performance.now();
  expect((await api.process.stop()).code).toBe(0);
  expect(performance.now() - began).toBeLessThan(10_000);
});

it('listens on api_bind and api_port without options', async () => {
  const port = await freePort();
  const api = await serve(`api_port = ${port}\napi_bind = ::1`, []);
  expect(api.process.output('stderr')).toContain(`Listening on http://[::1]:${port}\n`);
});

it('logs where event_log says', async () => {
  const file = join(temporaryDirectory(), 'events.json');
  const api = await serve(`event_log = json:${file}`);
  await api.ask('/health');
  const ended = await api.process.stop();
  expect(ended.stderr).toMatch(/^Serving the dispatcher of .*\nListening on \S+\n$/);
  const actions = readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).action);
  expect(actions).toEqual(['api-start', 'api-request', 'api-stop']);
});
