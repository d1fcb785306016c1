import { existsSync, lstatSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { askApi, serveApi, setSettings } from '../../support/api/process.js';
import { dispatcherOnDisk, run, shared, start, temporaryDirectory } from '../../support/commands/commands.js';
import { eventually } from '../../support/fleet/fleet.js';

const control = shared(() => dispatcherOnDisk());
const socketIn = (directory = temporaryDirectory()) => join(directory, 'api.sock');
const set = (socketPath: string, more = '') =>
  setSettings(control(), `api_auth_default = allow\napi_socket = ${socketPath}\n${more}`);
const modeOf = (path: string) => lstatSync(path).mode & 0o777;

it('answers on its socket alone, which owner and group may use, and removes it at the end', async () => {
  const socketPath = socketIn();
  set(socketPath);
  const api = await serveApi(control().home, [], { before: 'umask 000' });
  expect(api.process.output('stderr')).toContain(`Listening on unix:${socketPath}\n`);
  expect(modeOf(socketPath)).toBe(0o660);
  expect((await askApi({ socketPath }, '/health')).json).toMatchObject({ ok: true });
  expect((await askApi({ socketPath }, '/v1/locks')).json).toMatchObject({ ok: true });
  await api.process.shows(/ACTION=api-request \S+ IP=unix METHOD=GET MS=\d+ PATH=\/v1\/locks/, 'stderr');
  expect((await api.process.stop()).code).toBe(0);
  expect(existsSync(socketPath)).toBe(false);
});

it('is never open to others, not for a moment', async () => {
  const directory = temporaryDirectory();
  const socketPath = socketIn(directory);
  set(socketPath);
  const process = start('ctrl-exec-api', [], { home: control().home, before: 'umask 000' });
  const seen = new Set<number>();
  while (!process.output('stderr').includes('Listening')) {
    if (existsSync(socketPath)) seen.add(modeOf(socketPath));
    await new Promise((resolve) => setImmediate(resolve));
  }
  seen.add(modeOf(socketPath));
  expect([...seen]).toEqual([0o660]);
});

it.each([
  ['--port on the command line', '', ['--port', '0']],
  ['api_port in the configuration', 'api_port = 0', []],
])('with %s it listens there as well', async (_what, conf, args) => {
  const socketPath = socketIn();
  set(socketPath, conf);
  const api = await serveApi(control().home, args);
  expect((await api.ask('/health')).status).toBe(200);
  expect((await askApi({ socketPath }, '/health')).status).toBe(200);
});

it('the socket of a process that was killed is replaced', async () => {
  const socketPath = socketIn();
  set(socketPath);
  const killed = await serveApi(control().home, []);
  await killed.process.stop('SIGKILL');
  expect(existsSync(socketPath)).toBe(true);
  await serveApi(control().home, []);
  expect((await askApi({ socketPath }, '/health')).status).toBe(200);
});

it('the socket of a process that lives is not: exit 1, and the other one goes on', async () => {
  const directory = temporaryDirectory();
  const socketPath = socketIn(directory);
  set(socketPath);
  await serveApi(control().home, []);
  const second = await run('ctrl-exec-api', [], { home: control().home });
  expect(second).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(
      /^Serving the dispatcher of .*\ncannot listen on .*: EADDRINUSE, another process listens there\n$/,
    ),
  });
  expect(readdirSync(directory)).toEqual(['api.sock']);
  expect((await askApi({ socketPath }, '/health')).status).toBe(200);
});

it('a directory that is missing: one line, exit 1', async () => {
  const socketPath = join(temporaryDirectory(), 'missing', 'api.sock');
  set(socketPath);
  const { code, stderr } = await run('ctrl-exec-api', [], { home: control().home });
  expect(stderr.slice(stderr.indexOf('\n') + 1)).toBe(
    `cannot listen on ${socketPath}: EACCES, its directory is missing, or cannot be written\n`,
  );
  expect(code).toBe(1);
});

it('is given up again where the port beside it cannot be had', async () => {
  const [first, second] = [socketIn(), socketIn()];
  set(first);
  const { port } = await serveApi(control().home, ['--port', '0']);
  set(second);
  const { code } = await run('ctrl-exec-api', ['--port', String(port)], { home: control().home });
  expect(code).toBe(1);
  expect(existsSync(second)).toBe(false);
});

it('a file that is no socket is left alone', async () => {
  const socketPath = socketIn();
  writeFileSync(socketPath, 'precious');
  set(socketPath);
  const { code, stderr } = await run('ctrl-exec-api', [], { home: control().home });
  expect(stderr.split('\n')[1]).toBe(`cannot listen on ${socketPath}: there is something that is no socket`);
  expect(code).toBe(1);
  expect(lstatSync(socketPath).size).toBe(8);
});

it('two that are started at once over a stale socket: one serves, the other says so', async () => {
  const socketPath = socketIn();
  set(socketPath);
  const first = await serveApi(control().home, []);
  await first.process.stop('SIGKILL');
  const both = [0, 1].map(() => start('ctrl-exec-api', [], { home: control().home }));
  await eventually(() => {
    const said = both.map((each) => each.output('stderr'));
    expect(said.filter((text) => text.includes('Listening on'))).toHaveLength(1);
    expect(said.filter((text) => text.includes('another process listens there'))).toHaveLength(1);
  });
  expect((await askApi({ socketPath }, '/health')).status).toBe(200);
});
