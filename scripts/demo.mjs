// The main job, for real, in a temporary directory over loopback: a private CA, a dispatcher, an agent that pairs with it,
// and three runs. Exit 0 if everything was as expected, 1 if not; nothing is left behind either way.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const bin = fileURLToPath(new URL('../dist/bin/', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'ctrl-exec-demo-'));
const dispatcherHome = join(directory, 'dispatcher');
const agentHome = join(directory, 'agent');
const host = '127.0.0.1';
/** @type {Set<import('node:child_process').ChildProcess>} */
const running = new Set();
// What it writes is for this user alone to change, whatever the umask of whoever runs it.
process.umask(0o022);
const started = performance.now();

/** @param {string} text */
const say = (text) => process.stdout.write(`${text}\n`);
/** @param {string} text */
const chapter = (text) => say(`\n${text}`);

/** @param {boolean} holds @param {string} what */
function expect(holds, what) {
  if (!holds) throw new Error(`expected: ${what}`);
}

/** @param {'ctrl-exec' | 'ctrl-exec-agent'} command @param {string[]} args */
function start(command, args) {
  const home = command === 'ctrl-exec' ? dispatcherHome : agentHome;
  const child = spawn(process.execPath, [join(bin, `${command}.js`), '--home', home, ...args]);
  running.add(child);
  let output = '';
  let errors = '';
  /** @type {(() => void)[]} */
  const readers = [];
  child.stdout.on('data', (chunk) => {
    output += chunk;
    for (const reader of readers) reader();
  });
  child.stderr.on('data', (chunk) => {
    errors += chunk;
  });
  /** @type {Promise<{ code: number | null, output: string, errors: string }>} */
  const ended = new Promise((resolve) => {
    child.once('close', (code) => {
      running.delete(child);
      resolve({ code, output, errors });
      for (const reader of readers) reader();
    });
  });
  /** Waits until the output shows what is looked for; its first group, or all of it. @param {RegExp} pattern */
  const shows = (pattern) =>
    new Promise((/** @type {(found: string) => void} */ resolve, reject) => {
      const look = () => {
        const found = pattern.exec(output);
        if (found) resolve(found[1] ?? found[0]);
        else if (child.exitCode !== null)
          reject(new Error(`${command} ${args[0]} ended: ${errors || output}`));
      };
      readers.push(look);
      look();
    });
  return { child, ended, shows };
}

/** Runs a command to its end and shows it as a person would have typed it. @param {string[]} args */
async function ctrlExec(...args) {
  say(`  $ ctrl-exec ${args.map((arg) => (/^[\w.:@%+=/-]+$/.test(arg) ? arg : `'${arg}'`)).join(' ')}`);
  const { code, output, errors } = await start('ctrl-exec', args).ended;
  for (const line of `${output}${errors}`.trimEnd().split('\n')) say(`    ${line}`);
  return { code, output };
}

/** @returns {Promise<number>} a port that the system says is free */
const freePort = () =>
  new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, host, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });

/** @param {string} name @param {string} text */
function script(name, text) {
  writeFileSync(join(agentHome, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
}

async function demo() {
  chapter('1. The control host gets a private CA and an identity of its own.');
  expect((await ctrlExec('setup-ca')).code === 0, 'a CA');
  writeFileSync(join(dispatcherHome, 'ctrl-exec.conf'), `dispatcher_id = control\npairing_bind = ${host}\n`);
  expect((await ctrlExec('setup-ctrl-exec')).code === 0, 'an identity');

  chapter('2. The managed host says what may be run on it, and nothing else.');
  mkdirSync(agentHome);
  script('greet.sh', 'echo "Hello $1, this is process $$."');
  script('backup.sh', 'echo "no space left" >&2\nexit 3');
  const allowlist = `greet = ${join(agentHome, 'greet.sh')}\nbackup = ${join(agentHome, 'backup.sh')}\n`;
  writeFileSync(join(agentHome, 'scripts.conf'), allowlist);
  const port = await freePort();
  writeFileSync(join(agentHome, 'agent.conf'), `port = ${port}\nbind = ${host}\n\n[tags]\nenv = demo\n`);
  for (const line of allowlist.trimEnd().split('\n')) say(`    ${line.replace(directory, '…')}`);

  chapter('3. They pair: both show a code, people compare, each side confirms.');
  const pairing = start('ctrl-exec', ['pairing-mode', '--port', '0']);
  const pairingPort = await pairing.shows(/Pairing mode on .*:(\d+)/);
  const request = start('ctrl-exec-agent', [
    ...[
      'request-pairing',
      '--dispatcher',
      host,
      '--port',
      pairingPort,
      '--name',
      'web-01',
      '--lookup-by',
      'ip',
    ],
  ]);
  const agentCode = await request.shows(/Pairing code: [0-9a-f]{8}-(\d{6})/);
  const listed = await start('ctrl-exec', ['list-requests', '--json']).ended;
  const waiting = JSON.parse(listed.output).requests[0];
  say(`    the agent shows       ${agentCode}`);
  say(`    the dispatcher shows  ${waiting.code}`);
  expect(agentCode === waiting.code, 'the same code on both sides');
  expect((await ctrlExec('approve', waiting.id.slice(0, 8), '--code', agentCode)).code === 0, 'an approval');
  request.child.stdin.end('y\n');
  const paired = await request.ended;
  expect(paired.code === 0, `a paired agent (${paired.errors})`);
  say(`    ${/Paired with .*/.exec(paired.output)?.[0]}`);
  pairing.child.kill('SIGTERM');
  expect((await pairing.ended).code === 0, 'pairing mode to end');

  chapter('4. The agent serves; the dispatcher asks who is there and what it offers.');
  const agent = start('ctrl-exec-agent', ['serve']);
  await agent.shows(/Serving on .*/);
  expect((await ctrlExec('ping', 'web-01')).code === 0, 'an answer to a ping');
  expect((await ctrlExec('discovery', 'web-01')).code === 0, 'a list of scripts');

  chapter('5. Three runs: one that works, one that fails, one that is not allowed.');
  const good = await ctrlExec('run', 'web-01', 'greet', '--', 'big world; $(reboot)');
  expect(good.code === 0 && good.output.includes('Hello big world; $(reboot)'), 'the argument byte for byte');
  const failing = await ctrlExec('run', 'web-01', 'backup');
  expect(failing.code === 1 && failing.output.includes('exit:3'), 'exit code 3 as it was');
  const forbidden = await ctrlExec('run', 'web-01', 'reboot');
  expect(forbidden.code === 1 && forbidden.output.includes('script not permitted'), 'a refusal');

  agent.child.kill('SIGTERM');
  expect((await agent.ended).code === 0, 'the agent to end');
}

let failed = false;
try {
  await demo();
} catch (error) {
  failed = true;
  say(`\nNot as expected: ${error instanceof Error ? error.message : error}`);
} finally {
  const left = [...running];
  for (const child of left) child.kill('SIGKILL');
  await Promise.all(
    left.map((child) => child.exitCode ?? new Promise((resolve) => child.once('close', resolve))),
  );
  rmSync(directory, { recursive: true, force: true });
}
const seconds = ((performance.now() - started) / 1000).toFixed(1);
say(failed ? '\nThe demo failed.' : `\nAll as expected, in ${seconds} s; everything was removed again.`);
process.exitCode = failed ? 1 : 0;
