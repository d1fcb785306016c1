// What a thousand slow clients do to the pings of a dispatcher: latency over a new connection each and over one that is
// kept, with them and without. Needs `npm run build`. Prints one JSON object.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { build } from 'esbuild';

const clients = Number(process.argv[2] ?? 1_000);
const samples = 600;
const root = join(import.meta.dirname, '..');
const directory = mkdtempSync(join(tmpdir(), 'ctrl-exec-bench-'));
const homes = { dispatcher: join(directory, 'dispatcher'), agent: join(directory, 'agent') };
/** @type {import('node:child_process').ChildProcess[]} */
const children = [];

/** @param {string} name of a file in tests/support */
const bundle = async (name) => {
  const outfile = join(directory, `${name.replace('/', '-')}.mjs`);
  await build({
    entryPoints: [join(root, `tests/support/${name}.ts`)],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    logLevel: 'warning',
  });
  return outfile;
};

/** @param {'ctrl-exec' | 'ctrl-exec-agent'} command @param {string[]} args */
const lineOf = (command, args) => [
  join(root, `dist/bin/${command}.js`),
  '--home',
  command === 'ctrl-exec' ? homes.dispatcher : homes.agent,
  ...args,
];

/** @param {'ctrl-exec' | 'ctrl-exec-agent'} command @param {...string} args */
const run = (command, ...args) => {
  const ended = spawnSync(process.execPath, lineOf(command, args), { encoding: 'utf8', input: '' });
  if (ended.status !== 0) throw new Error(`${command} ${args.join(' ')}: ${ended.stderr}`);
  return ended.stdout;
};

/** @param {'ctrl-exec' | 'ctrl-exec-agent'} command @param {RegExp} shows @param {...string} args */
const start = async (command, shows, ...args) => {
  const child = spawn(process.execPath, lineOf(command, args), { stdio: ['ignore', 'pipe', 'ignore'] });
  children.push(child);
  for await (const line of createInterface({ input: child.stdout })) {
    const found = shows.exec(line);
    if (found) return { child, found };
  }
  throw new Error(`${command} ${args.join(' ')} ended`);
};

/** @param {import('node:child_process').ChildProcess} child */
const stop = async (child) => {
  if (child.exitCode !== null) throw new Error(`a process ended by itself: ${child.exitCode}`);
  const closed = once(child, 'close');
  child.kill();
  await closed;
};

const pairAndServe = async () => {
  for (const home of Object.values(homes)) mkdirSync(home);
  writeFileSync(
    join(homes.dispatcher, 'ctrl-exec.conf'),
    'dispatcher_id = bench\npairing_bind = 127.0.0.1\n',
  );
  writeFileSync(join(homes.agent, 'agent.conf'), 'bind = 127.0.0.1\nmax_connections = 2048\n');
  const script = join(homes.agent, 'long');
  writeFileSync(script, '#!/bin/sh\nhead -c 8000000 /dev/zero | tr "\\0" x\n');
  chmodSync(script, 0o755);
  writeFileSync(join(homes.agent, 'scripts.conf'), `long = ${script}\n`);
  run('ctrl-exec', 'setup-ca');
  run('ctrl-exec', 'setup-ctrl-exec');
  const mode = await start('ctrl-exec', /Pairing mode on .*:(\d+)/, 'pairing-mode', '--port', '0');
  const token = JSON.parse(run('ctrl-exec', 'join-token', '--host', 'web-01', '--json')).token;
  const pairing = ['--dispatcher', '127.0.0.1', '--port', mode.found[1] ?? '', '--name', 'web-01'];
  run('ctrl-exec-agent', 'request-pairing', ...pairing, '--join', token);
  await stop(mode.child);
  const serving = await start('ctrl-exec-agent', /Serving on .*:(\d+)/, 'serve', '--port', '0');
  return { port: Number(serving.found[1]), pid: serving.child.pid };
};

/** @param {number[]} times milliseconds */
const percentiles = (times) => {
  const sorted = times.slice().sort((a, b) => a - b);
  const at = (/** @type {number} */ part) =>
    Math.round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0) * 100) / 100;
  return { p50_ms: at(0.5), p95_ms: at(0.95), p99_ms: at(0.99), max_ms: at(1) };
};

const ratio = (/** @type {number} */ a, /** @type {number} */ b) => Math.round((a / b) * 100) / 100;

/** Megabytes resident. @param {number | undefined} pid */
const resident = (pid) =>
  Math.round(Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024);

try {
  const { port, pid } = await pairAndServe();
  const part = (/** @type {string} */ name) =>
    readFileSync(join(homes.dispatcher, `ctrl-exec.${name}`), 'utf8');
  const who = { key: part('key'), certificate: part('crt') };
  const [http, tls] = [
    await import(await bundle('network/raw-http')),
    await import(await bundle('network/raw-tls')),
  ];
  const attacker = await bundle('slow-clients/main');

  const fresh = async () => {
    const socket = await tls.openTls(port, who);
    const request = http.signedFor(socket, who, http.requestOf('/ping', '{}'));
    const coming = tls.received(socket);
    const shown = http.shownOn(socket);
    socket.write(http.bytesOf(request, '1.0'));
    http.mustVerify(http.parseAnswer(await coming), request, shown);
  };

  /** @param {() => Promise<unknown>} ping @param {number[]} times */
  const measure = async (ping, times) => {
    for (let count = 0; count < samples; count += 1) {
      const before = performance.now();
      await ping();
      times.push(performance.now() - before);
    }
  };
  const attack = async () => {
    const child = spawn(process.execPath, [attacker], { stdio: ['pipe', 'pipe', 'inherit'] });
    children.push(child);
    const addresses = ['127.0.0.1', '127.0.0.2', '127.0.0.1', '127.0.0.3'];
    child.stdin.write(`${JSON.stringify({ count: clients, port, who, addresses, script: 'long' })}\n`);
    for await (const line of createInterface({ input: child.stdout })) {
      const { ended, most } = JSON.parse(line);
      // Some have come back already: from here on it goes on as it does.
      if (most >= clients * 0.9 && ended.length > 2) break;
    }
    return child;
  };

  /** @type {Record<'fresh' | 'kept', Record<'without' | 'with', number[]>>} */
  const times = { fresh: { without: [], with: [] }, kept: { without: [], with: [] } };
  const memory = { before: resident(pid), during: 0 };
  await fresh();
  // First without: afterwards the agent slows this address for a while.
  await measure(fresh, times.fresh.without);
  // Opened only now: it may not be idle for long.
  const kept = await tls.openTls(port, who);
  const over = () => http.askOver(kept, who, '/ping', '{}');
  await measure(over, times.kept.without);
  const child = await attack();
  await measure(fresh, times.fresh.with);
  await measure(over, times.kept.with);
  memory.during = resident(pid);
  await stop(child);
  kept.destroy();
  const told = (/** @type {'fresh' | 'kept'} */ kind) => {
    const [reference, attacked] = [percentiles(times[kind].without), percentiles(times[kind].with)];
    return {
      without: reference,
      with: attacked,
      ratio_p50: ratio(attacked.p50_ms, reference.p50_ms),
      ratio_p95: ratio(attacked.p95_ms, reference.p95_ms),
    };
  };
  const result = {
    benchmark: 'slow-clients',
    machine: { cpu: cpus()[0]?.model, cores: cpus().length, platform: process.platform },
    versions: { node: process.version, openssl: process.versions.openssl },
    clients,
    pings: samples,
    goal: 'ratio <= 2',
    new_connection: told('fresh'),
    kept_connection: told('kept'),
    agent_resident_mib: memory,
  };
  console.log(JSON.stringify(result, undefined, 2));
} finally {
  for (const child of children) if (child.exitCode === null) child.kill('SIGKILL');
  rmSync(directory, { recursive: true });
}
