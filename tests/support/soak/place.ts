import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';
import type { openDispatcher } from '../../../src/apps/library/index.js';
import { value } from '../../contract/result.js';

/** Of the scripts below, each under one name for each lane: a script is locked as long as it runs. */
const scripts = {
  quick: 'echo "$@"',
  fail: 'echo no space left >&2; exit 3',
  big: 'head -c "$1" /dev/zero | tr "\\0" x',
  leave: 'at=$(dirname "$0"); "$at/linger" & "$at/linger" </dev/null >/dev/null 2>&1 & echo left',
  job: 'sleep 0.2; echo "$@"',
  endless: 'if [ "$1" = stubborn ]; then trap "" TERM; fi; echo begun; while [ -e "$0" ]; do sleep 0.2; done',
  talk: 'i=0; while [ $i -lt 30 ]; do head -c 65536 /dev/zero | tr "\\0" y; i=$((i + 1)); done',
} as const;

export type ScriptName = keyof typeof scripts;

/** What a command has said, and how it ended. */
interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export type Place = Awaited<ReturnType<typeof makePlace>>;

/**
 * A control host and an agent's host in a temporary directory, paired.
 * @param root of the repository, with a build
 */
export async function makePlace(root: string, lanes: number) {
  const directory = mkdtempSync(join(tmpdir(), 'ctrl-exec-soak-'));
  const homes = { 'ctrl-exec': join(directory, 'control'), 'ctrl-exec-agent': join(directory, 'web-01') };
  const agentHome = homes['ctrl-exec-agent'];
  for (const home of Object.values(homes)) mkdirSync(home);
  const started = new Set<ChildProcess>();

  const start = (command: keyof typeof homes, ...args: string[]): ChildProcess => {
    const line = [join(root, `dist/bin/${command}.js`), '--home', homes[command], ...args];
    // Any free port for the inspector, which is opened by SIGUSR1.
    const child = spawn(process.execPath, ['--inspect-port=0', ...line], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    started.add(child);
    child.once('close', () => started.delete(child));
    return child;
  };
  const run = async (command: keyof typeof homes, ...args: string[]): Promise<Ended> => {
    const child = start(command, ...args);
    const said = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr'] as const)
      child[stream]?.setEncoding('utf8').on('data', (text: string) => {
        said[stream] += text;
      });
    const [code] = await once(child, 'close');
    return { code, ...said };
  };

  writeFileSync(
    join(homes['ctrl-exec'], 'ctrl-exec.conf'),
    'dispatcher_id = control\npairing_bind = 127.0.0.1\n',
  );
  let names = '';
  const script = (name: string, text: string) =>
    writeFileSync(join(agentHome, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  script('linger', 'sleep 2');
  for (const [name, text] of Object.entries(scripts)) {
    script(name, text);
    for (let lane = 0; lane < lanes; lane += 1) names += `${name}-${lane} = ${join(agentHome, name)}\n`;
  }
  // A name for the clients that do not read.
  names += `long = ${join(agentHome, 'long')}\n`;
  script('long', 'head -c 7000000 /dev/zero');
  writeFileSync(join(agentHome, 'scripts.conf'), names);
  /** Without the port, which the system has chosen. */
  const configure = (conf: string) =>
    writeFileSync(join(agentHome, 'agent.conf'), `bind = 127.0.0.1\n${conf}`);
  configure('');

  const library: { openDispatcher: typeof openDispatcher } = await import(
    pathToFileURL(join(root, 'dist/library/index.js')).href
  );
  const dispatcher = await library.openDispatcher({ home: homes['ctrl-exec'] });
  value(await dispatcher.setupCa());
  value(await dispatcher.setup());
  const mode = value(await dispatcher.openPairing({ port: 0, bind: '127.0.0.1' }));
  const { token } = value(await dispatcher.issueJoinToken({ host: 'web-01' }));
  const where = ['--dispatcher', '127.0.0.1', '--port', String(mode.port), '--name', 'web-01'];
  const paired = await run(
    'ctrl-exec-agent',
    'request-pairing',
    ...where,
    '--lookup-by',
    'ip',
    '--join',
    token,
  );
  if (paired.code !== 0) throw new Error(`pairing: ${paired.stderr}`);
  await mode.close();

  const part = (name: string) => readFileSync(join(homes['ctrl-exec'], `ctrl-exec.${name}`), 'utf8');
  return {
    directory,
    agentHome,
    dispatcher,
    who: { key: part('key'), certificate: part('crt') },
    configure,
    run,
    start,
    serve: (onLine: (line: string) => void, port = 0) =>
      serving(start('ctrl-exec-agent', 'serve', '--port', String(port)), onLine),
    /** Ends what is left of the processes that were started here. */
    async end() {
      for (const child of [...started]) {
        const closed = once(child, 'close');
        child.kill('SIGKILL');
        await closed;
      }
    },
  };
}

/** An agent that serves, and where; every line that it writes is given out, and none kept. */
async function serving(child: ChildProcess, onLine: (line: string) => void) {
  const { stdout, stderr, pid } = child;
  if (!stdout || !stderr || pid === undefined) throw new Error('the agent was not started');
  const [port, inspector] = [awaited<number>(), awaited<string>()];
  child.once('close', () => port.reject(new Error('the agent has ended')));
  createInterface({ input: stdout }).on('line', (line) => {
    const found = /Serving on .*:(\d+)/.exec(line)?.[1];
    if (found) port.resolve(Number(found));
  });
  createInterface({ input: stderr }).on('line', (line) => {
    const found = /^Debugger listening on (.*)/.exec(line)?.[1];
    if (found) inspector.resolve(found);
    else onLine(line);
  });
  const at = await port.promise;
  child.kill('SIGUSR1');
  return { child, pid, port: at, inspector: await inspector.promise };
}

/** Promise.withResolvers, which Node 20 does not have. */
function awaited<T>() {
  let resolve: (value: T) => void = () => {};
  let reject: (reason: Error) => void = () => {};
  const promise = new Promise<T>((fulfil, refuse) => {
    resolve = fulfil;
    reject = refuse;
  });
  return { promise, resolve, reject };
}
