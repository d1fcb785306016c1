import { appendFileSync, copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { type AgentOnDisk, run, type Started, temporaryDirectory } from '../../support/commands/commands.js';
import { dispatcherCredentials, eventually, gate, pairedHost, serialOf } from '../../support/fleet/fleet.js';
import { askOver, bytesOf, requestOf, signedFor } from '../../support/network/raw-http.js';
import { followRun, outputOf } from '../../support/network/raw-stream.js';
import { openTls } from '../../support/network/raw-tls.js';

const host = pairedHost();
const { fresh } = host;
let last = 0;
const newId = () => {
  last += 1;
  return `long-${process.pid}-${last}`;
};

/** One signed request over a connection of its own, and its answer, verified. */
async function ask(
  agent: AgentOnDisk,
  path: string,
  body?: object,
  who = dispatcherCredentials(host.control()),
) {
  const socket = await openTls(agent.port, who);
  const answer = await askOver(socket, who, path, body && JSON.stringify(body));
  socket.destroy();
  return { status: answer.status, json: JSON.parse(Buffer.from(answer.body).toString()) };
}

const submit = (agent: AgentOnDisk, script: string, reqid: string) =>
  ask(agent, '/run', { script, reqid, async: true });
const result = async (agent: AgentOnDisk, reqid: string) => ask(agent, `/result/${reqid}`);
const statusOf = async (agent: AgentOnDisk, reqid: string) => (await result(agent, reqid)).json.status;
const cancel = (agent: AgentOnDisk, reqid: string) => ask(agent, '/v2/cancel', { reqid });

async function follow(agent: AgentOnDisk, script: string, reqid: string) {
  const who = dispatcherCredentials(host.control());
  const socket = await openTls(agent.port, who);
  return { socket, ...(await followRun(socket, who, { script, reqid })) };
}

it.each(['SIGTERM', 'SIGKILL'] as const)(
  'an async job survives %s of the agent, and is fetched, or cancelled, after the restart',
  async (signal) => {
    const agent = await fresh();
    const [one, two] = [gate(), gate()];
    agent.script('one', one.script);
    agent.script('two', two.script);
    const first = await agent.serve();
    const [a, b] = [newId(), newId()];
    expect((await submit(agent, 'one', a)).json).toEqual({ script: 'one', status: 'accepted', reqid: a });
    expect((await submit(agent, 'two', b)).status).toBe(202);
    await one.started();
    await two.started();
    await first.stop(signal);
    const second = await agent.serve();
    expect(await statusOf(agent, a)).toBe('running');
    expect(await submit(agent, 'one', newId())).toMatchObject({ status: 409, json: { status: 'busy' } });
    expect((await submit(agent, 'one', a)).status).toBe(202);
    one.open();
    await second.shows(new RegExp(`ACTION=job-end .*REQID=${a} .*STATUS=done`), 'stderr');
    expect((await result(agent, a)).json).toMatchObject({
      reqid: a,
      status: 'done',
      script: 'one',
      owner: 'control',
      exit: 0,
      stdout: 'done\n',
      stderr: '',
    });
    expect(await cancel(agent, b)).toEqual({ status: 200, json: { status: 'cancelling' } });
    await eventually(async () => expect(await statusOf(agent, b)).toBe('cancelled'));
    expect((await result(agent, b)).json).toMatchObject({ exit: 126, error: 'cancelled' });
    expect(await cancel(agent, b)).toEqual({ status: 409, json: { status: 'done' } });
    expect([one.starts(), two.starts()]).toEqual([1, 1]);
  },
  60_000,
);

it('killed at any moment of a submission, the agent never runs it twice', async () => {
  const agent = await fresh();
  const directory = temporaryDirectory();
  const effects = join(directory, 'effects');
  agent.script(
    'effect',
    `#!/bin/sh\n[ -d ${directory} ] && echo "$$" >> ${effects}.$(head -c 4096 | sed 's/.*"reqid":"\\([^"]*\\)".*/\\1/')\n`,
  );
  const count = (reqid: string) =>
    existsSync(`${effects}.${reqid}`)
      ? readFileSync(`${effects}.${reqid}`, 'utf8').trim().split('\n').length
      : 0;
  let daemon: Started = await agent.serve();
  for (let round = 0; round < 10; round += 1) {
    const reqid = newId();
    const submitted = submit(agent, 'effect', reqid).catch(() => undefined);
    await delay(Math.random() * 250);
    await daemon.stop('SIGKILL');
    await submitted;
    daemon = await agent.serve();
    const again = await submit(agent, 'effect', reqid);
    const status = async () => (await result(agent, reqid)).json.status;
    if (again.status === 202)
      await eventually(async () => expect(['done', 'lost']).toContain(await status()));
    const known = await status();
    expect([again.status, known, count(reqid)]).toEqual([
      expect.any(Number),
      expect.stringMatching(/^(done|lost)$/),
      known === 'done' ? 1 : expect.any(Number),
    ]);
    expect(count(reqid)).toBeLessThanOrEqual(1);
  }
}, 120_000);

it('a synchronous run that the agent was killed in is lost, and not run again', async () => {
  const agent = await fresh();
  const busy = gate();
  agent.script('busy', busy.script);
  const daemon = await agent.serve();
  const reqid = newId();
  const asked = ask(agent, '/run', { script: 'busy', reqid }).catch(() => undefined);
  await busy.started();
  await daemon.stop('SIGKILL');
  await asked;
  busy.open();
  await agent.serve();
  expect((await result(agent, reqid)).json).toMatchObject({ status: 'lost', script: 'busy', exit: -1 });
  for (const how of [{}, { async: true }])
    expect((await ask(agent, '/run', { script: 'busy', reqid, ...how })).json).toMatchObject({ exit: -1 });
  expect(busy.starts()).toBe(1);
}, 60_000);

it('a result is for the dispatcher that asked for the run, and for no other that is trusted', async () => {
  const agent = await fresh();
  agent.script('hello', '#!/bin/sh\necho hello\n');
  const other = { home: temporaryDirectory() };
  writeFileSync(join(other.home, 'ctrl-exec.conf'), 'dispatcher_id = other\n');
  for (const file of ['ca.key', 'ca.crt'])
    copyFileSync(join(host.control().home, file), join(other.home, file));
  expect((await run('ctrl-exec', ['setup-ctrl-exec', '--yes'], other)).code).toBe(0);
  const who = dispatcherCredentials(other);
  appendFileSync(join(agent.home, 'state/ctrl-exec-dispatchers'), `${serialOf(who)} other\n`);
  await agent.serve();
  const [job, sync] = [newId(), newId()];
  await submit(agent, 'hello', job);
  await ask(agent, '/run', { script: 'hello', reqid: sync });
  await eventually(async () => expect(await statusOf(agent, job)).toBe('done'));
  for (const reqid of [job, sync, 'never']) {
    const unknown = { status: 404, json: { status: 'unknown', reqid } };
    expect(await ask(agent, `/result/${reqid}`, undefined, who)).toEqual(unknown);
    expect(await ask(agent, '/v2/cancel', { reqid }, who)).toEqual({
      status: 404,
      json: { status: 'unknown' },
    });
  }
  expect(await statusOf(agent, job)).toBe('done');
}, 60_000);

it('a streamed run arrives as it is written, byte for byte, and its end is signed', async () => {
  const agent = await fresh();
  const busy = gate();
  agent.script(
    'talk',
    busy.script
      .replace('echo done', "printf '\\377\\000last\\n'")
      .replace('while', 'echo begun; echo oh >&2; while'),
  );
  await agent.serve();
  const reqid = newId();
  const { head, lines, ended, socket } = await follow(agent, 'talk', reqid);
  expect(head.status).toBe(200);
  expect(head.headers).toContainEqual(['content-type', 'application/x-ndjson']);
  await eventually(() => expect(outputOf(lines, 'stdout').toString()).toBe('begun\n'));
  expect(await statusOf(agent, reqid)).toBe('running');
  busy.open();
  const stdout_base64 = Buffer.from('begun\n\u00ff\0last\n', 'latin1').toString('base64');
  const end = await ended;
  expect(end).toMatchObject({ script: 'talk', reqid, exit: 0, stdout_base64, stderr: 'oh\n' });
  expect(end).not.toHaveProperty('stderr_base64');
  expect(outputOf(lines, 'stdout').toString('latin1')).toBe('begun\n\u00ff\0last\n');
  expect(outputOf(lines, 'stderr').toString()).toBe('oh\n');
  expect((await result(agent, reqid)).json).toMatchObject({ status: 'done', exit: 0, stdout_base64 });
  const job = newId();
  await submit(agent, 'talk', job);
  await eventually(async () =>
    expect((await result(agent, job)).json).toMatchObject({ status: 'done', stdout_base64 }),
  );
  // The connection brings further requests.
  const who = dispatcherCredentials(host.control());
  socket.removeAllListeners('data');
  expect((await askOver(socket, who, '/ping', '{}')).status).toBe(200);
  socket.destroy();
}, 60_000);

it('a run whose reader is slow, or goes away, is kept', async () => {
  const agent = await fresh('max_output = 1000\n');
  const many = 'yes 0123456789012345678901234567890123456789012345678901234567890 | head -c 20000000';
  agent.script('flood', `#!/bin/sh\n${many}\necho end >&2\n`);
  const daemon = await agent.serve();
  const slow = newId();
  const reading = await follow(agent, 'flood', slow);
  let pauses = 30;
  reading.socket.on('data', () => {
    if (pauses === 0) return;
    pauses -= 1;
    reading.socket.pause();
    setTimeout(() => reading.socket.resume(), 10);
  });
  expect(await reading.ended).toMatchObject({ exit: 0, stderr: 'end\n', truncated: { stdout: 20_000_000 } });
  expect(outputOf(reading.lines, 'stdout').length).toBe(20_000_000);

  const left = newId();
  const leaving = await follow(agent, 'flood', left);
  leaving.socket.destroy();
  expect(await leaving.ended).toBeUndefined();
  await daemon.shows(new RegExp(`ACTION=run-end .*REQID=${left} `), 'stderr');
  expect((await result(agent, left)).json).toMatchObject({
    status: 'done',
    exit: 0,
    stderr: 'end\n',
    truncated: { stdout: 20_000_000 },
  });
}, 60_000);

it('SIGTERM: a streamed run gets its grace and its end line, also one that nobody follows any more', async () => {
  const agent = await fresh();
  const [one, two] = [gate(), gate()];
  agent.script('one', one.script);
  agent.script('two', two.script);
  const daemon = await agent.serve();
  const followed = await follow(agent, 'one', newId());
  const id = newId();
  const left = await follow(agent, 'two', id);
  left.socket.destroy();
  await one.started();
  await two.started();
  daemon.child.kill('SIGTERM');
  one.open();
  expect(await followed.ended).toMatchObject({ exit: 0, stdout: 'done\n' });
  two.open();
  expect((await daemon.ended).code).toBe(0);
  await agent.serve();
  expect((await result(agent, id)).json).toMatchObject({ status: 'done', stdout: 'done\n' });
}, 60_000);

it('a synchronous run is cancelled, and its answer and record say so', async () => {
  const agent = await fresh();
  const busy = gate();
  agent.script('busy', busy.script);
  await agent.serve();
  const reqid = newId();
  const asked = ask(agent, '/run', { script: 'busy', reqid });
  await busy.started();
  expect((await cancel(agent, reqid)).status).toBe(200);
  expect((await asked).json).toMatchObject({ exit: 126, error: 'cancelled' });
  expect(await statusOf(agent, reqid)).toBe('cancelled');
}, 60_000);

it('run_timeout ends an async run, and what a run leaves behind is named', async () => {
  const agent = await fresh('run_timeout = 1\n');
  agent.script('long', '#!/bin/sh\necho begun\nexec sleep 60\n');
  agent.script('leaves', '#!/bin/sh\nsetsid sleep 3 &\necho here\n');
  await agent.serve();
  const reqid = newId();
  await submit(agent, 'long', reqid);
  await eventually(async () =>
    expect((await result(agent, reqid)).json).toMatchObject({
      status: 'done',
      exit: 126,
      error: 'killed by SIGTERM: ran longer than it was given',
      stdout: 'begun\n',
    }),
  );
  const { json } = await ask(agent, '/run', { script: 'leaves', reqid: newId() });
  expect(json).toMatchObject({
    exit: 0,
    stdout: 'here\n',
    left_behind: { count: 1, pids: [expect.any(Number)] },
  });
}, 60_000);

it('a followed run whose child goes on writing ends with its end line', async () => {
  const agent = await fresh();
  const writer = '(i=0; while [ $i -lt 60 ]; do echo x; sleep 0.05; i=$((i+1)); done) &';
  // An agent runs a script once at a time: each of those at once has a name of its own.
  const names = Array.from({ length: 6 }, (_, index) => `writer-${index}`);
  for (const name of names) agent.script(name, `#!/bin/sh\n${writer}\necho started\nexit 0\n`);
  await agent.serve();
  const once = async (name: string) => {
    const { lines, ended, socket } = await follow(agent, name, newId());
    const end = await ended;
    expect(end).toMatchObject({ exit: 0, left_behind: { pids: expect.any(Array) } });
    expect(outputOf(lines, 'stdout').toString()).toBe(end?.['stdout']);
    socket.destroy();
  };
  await Promise.all(names.map(once));
}, 60_000);

it.each(['SIGTERM', 'SIGKILL'] as const)(
  'what a run leaves behind goes on writing, also after %s of the agent',
  async (signal) => {
    const agent = await fresh();
    const daemon = `setsid sh -c 'echo $$ >"$0.pid"; while :; do echo tick; echo alive >>"$0.trace"; sleep 0.02; done' "$0" &`;
    const started = 'while [ ! -s "$0.pid" ]; do :; done; echo started';
    const [sync, async] = ['sync', 'async'].map((name) =>
      agent.script(name, `#!/bin/sh\n${daemon}\n${started}\n`),
    );
    const first = await agent.serve();
    const read = (path: string) => (existsSync(path) ? readFileSync(path, 'utf8') : '');
    try {
      expect((await ask(agent, '/run', { script: 'sync', reqid: newId() })).json).toMatchObject({ exit: 0 });
      const reqid = newId();
      await submit(agent, 'async', reqid);
      await eventually(async () =>
        expect((await result(agent, reqid)).json).toMatchObject({ status: 'done', exit: 0 }),
      );
      await first.stop(signal);
      const sizes = [sync, async].map((path) => read(`${path}.trace`).length);
      await eventually(() => {
        for (const [index, path] of [sync, async].entries())
          expect(read(`${path}.trace`).length).toBeGreaterThan((sizes[index] ?? 0) + 60);
      });
    } finally {
      for (const path of [sync, async]) {
        const pid = Number(read(`${path}.pid`));
        if (pid > 1) process.kill(pid, 'SIGKILL');
      }
    }
  },
  60_000,
);

it('a stream of any length needs no memory', async () => {
  const agent = await fresh('max_output = 1000\n');
  agent.script('flood', '#!/bin/sh\nyes 0123456789012345678901234567890123456789 | head -c 300000000\n');
  const daemon = await agent.serve();
  const who = dispatcherCredentials(host.control());
  const socket = await openTls(agent.port, who);
  const reqid = newId();
  const request = requestOf('/run', JSON.stringify({ script: 'flood', reqid, stream: true }));
  socket.write(bytesOf(signedFor(socket, who, request)));
  let taken = 0;
  socket.on('data', (chunk: Buffer) => {
    taken += chunk.length;
  });
  await daemon.shows(new RegExp(`ACTION=run-end .*REQID=${reqid} `), 'stderr');
  await eventually(() => expect(taken).toBeGreaterThan(300_000_000));
  socket.destroy();
  const peak = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${daemon.child.pid}/status`, 'utf8'))?.[1];
  expect(Number(peak) / 1024).toBeLessThan(256);
}, 120_000);
