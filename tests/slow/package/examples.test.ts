import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type Ended, shared, temporaryDirectory } from '../../support/commands/commands.js';
import { gate, pairedFleet } from '../../support/fleet/fleet.js';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const examples = join(root, 'examples');

/** Runs a program of Node.js to its end. */
function node(args: readonly string[], cwd = examples, env: Record<string, string> = {}): Promise<Ended> {
  const child = spawn(process.execPath, args, {
    cwd,
    env: { PATH: process.env['PATH'] ?? '', HOME: '/nonexistent', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const)
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      output[stream] += text;
    });
  return new Promise((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal, ...output }));
  });
}

/** A project that has installed the package: an example of its own, and what it needs below node_modules. */
function project(example: string): string {
  const directory = join(temporaryDirectory(), example);
  cpSync(join(examples, example), directory, { recursive: true });
  const link = (name: string, target: string) => {
    const path = join(directory, 'node_modules', name);
    mkdirSync(dirname(path), { recursive: true });
    symlinkSync(target, path);
  };
  link('ctrl-exec', root);
  for (const name of ['neverthrow', 'vitest', 'fast-check']) link(name, join(root, 'node_modules', name));
  return directory;
}

/** Two agents that serve, with what a discovery has seen of them. */
const fleet = shared(async () => {
  const slow = gate();
  const begun = join(temporaryDirectory(), 'pid');
  const deploy = '#!/bin/sh\necho "deployed $1"\n';
  // `stuck`: one that does not end by itself, and one that fails once the other has begun.
  const onWeb = {
    deploy,
    'disk-free': '#!/bin/sh\necho 42 percent\n',
    stuck: `#!/bin/sh\necho $$ >${begun}.new; mv ${begun}.new ${begun}; exec sleep 1000\n`,
    held: slow.script,
  };
  const onDb = {
    deploy,
    'disk-free': '#!/bin/sh\necho broken disk >&2\nexit 3\n',
    stuck: `#!/bin/sh\nwhile [ ! -s ${begun} ]; do sleep 0.05; done; echo no >&2; exit 3\n`,
  };
  const { control } = await pairedFleet(
    {
      web: { name: 'web-01', conf: '[tags]\nenv = prod\n', scripts: onWeb, serves: true },
      db: { name: 'db-01', conf: '[tags]\nenv = test\n', scripts: onDb, serves: true },
    },
    'api_auth_default = allow\n',
  );
  const discovered = await control.command('discovery');
  if (discovered.code !== 0) throw new Error(discovered.stdout + discovered.stderr);
  return { control, begun, slow };
});

describe('embed-in-a-script', () => {
  const report = (...args: string[]) =>
    node(['embed-in-a-script/disk-report.mjs', fleet().control.home, ...args]);

  it('prints a line for each host with the tags', async () => {
    expect(await report('disk-free', 'env=prod')).toMatchObject({
      code: 0,
      stdout: 'web-01\t42 percent\n',
      stderr: '',
    });
  });

  it('a host that fails is a line, and exit 1', async () => {
    const { code, stdout } = await report('disk-free');
    expect(code).toBe(1);
    expect(stdout.split('\n').sort()).toEqual(['', 'db-01\tFAILED 3: broken disk', 'web-01\t42 percent']);
  });

  it('nobody to ask is a failure of one line', async () => {
    const { code, stdout, stderr } = await report('disk-free', 'env=nowhere');
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(/^hosts: .+\n$/);
  });
});

describe('ci-pipeline', () => {
  const rollout = (script: string, ...hosts: string[]) =>
    node(['ci-pipeline/rollout.mjs', fleet().control.home, script, 'v3', ...hosts]);

  it('every host done is exit 0', async () => {
    const { code, stdout, stderr } = await rollout('deploy', 'web-01', 'db-01');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^web-01\tok\t\d+ms$/m);
    expect(stdout).toMatch(/^db-01\tok\t\d+ms$/m);
    expect(stdout).toMatch(/^run [0-9a-f]{16}: 2 of 2 done\n$/m);
  });

  it('the first bad host ends the others, and is exit 1', async () => {
    const { code, stdout, stderr } = await rollout('stuck', 'web-01', 'db-01');
    expect({ code, stderr }).toEqual({ code: 1, stderr: '' });
    expect(stdout).toMatch(/^db-01\texit 3: no\t/m);
    expect(stdout).toMatch(/^web-01\texit -1: stopped by the caller\t/m);
    expect(stdout).toMatch(/^web-01\tcancelling$/m);
    expect(stdout).toMatch(/: 0 of 2 done\n$/);
    const pid = readFileSync(fleet().begun, 'utf8').trim();
    await expect.poll(() => existsSync(`/proc/${pid}`), { timeout: 15_000 }).toBe(false);
  });

  it('what runs already is exit 75, and no host at all exit 2', async () => {
    const { control, slow } = fleet();
    const running = control.start('run', 'web-01', 'held');
    await slow.started();
    expect(await rollout('held', 'web-01')).toMatchObject({
      code: 75,
      stdout: '',
      stderr: 'already running: web-01:held\n',
    });
    slow.open();
    await running.ended;
    expect((await rollout('deploy')).code).toBe(2);
  });
});

describe('in-an-existing-express-app', () => {
  it('the API answers below the application, to whoever is logged in there', async () => {
    const secret = 'sixteen characters';
    const child = spawn(process.execPath, ['in-an-existing-express-app/app.mjs', fleet().control.home, '0'], {
      cwd: examples,
      env: { PATH: process.env['PATH'] ?? '', APP_TOKEN: secret },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = new Promise((resolve) => child.once('close', resolve));
    onTestFinished(async () => {
      child.kill('SIGKILL');
      await ended;
    });
    const said = await new Promise<string>((resolve) => {
      child.stdout.setEncoding('utf8').once('data', resolve);
    });
    const url = `http://127.0.0.1:${/listening on (\d+)/.exec(said)?.[1]}`;
    const ask = async (headers: Record<string, string>) => {
      const answer = await fetch(`${url}/fleet/run`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify({ hosts: ['web-01'], script: 'deploy', args: ['v3'] }),
      });
      return { status: answer.status, body: await answer.json() };
    };
    expect(await ask({})).toEqual({ status: 401, body: { ok: false, error: 'log in first' } });
    const run = await ask({ 'x-app-token': secret });
    expect(run).toMatchObject({ status: 200, body: { results: [{ exit: 0, stdout: 'deployed v3\n' }] } });
    expect(await (await fetch(url)).text()).toBe('the application itself\n');
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
  });
});

describe('own-registry', () => {
  it('a fleet whose agents stand in a JSON file pairs and runs, as its page says', async () => {
    const page = readFileSync(join(examples, 'own-registry/README.md'), 'utf8');
    const [, printed = 'nothing'] = /`run\.mjs` prints\n\n```\n([^`]+)```/.exec(page) ?? [];
    expect(await node(['own-registry/run.mjs'])).toMatchObject({ code: 0, stdout: printed, stderr: '' });
  });

  const contract = (directory: string) =>
    node([join(root, 'node_modules/vitest/vitest.mjs'), 'run', '--reporter=json'], directory, {
      NO_COLOR: '1',
    });

  it('the registry holds what the port promises, by the published suite', async () => {
    const { code, stdout } = await contract(project('own-registry'));
    const { numPassedTests, numFailedTests } = JSON.parse(stdout);
    expect({ code, numFailedTests }).toEqual({ code: 0, numFailedTests: 0 });
    expect(numPassedTests).toBeGreaterThan(50);
  });

  it('and the suite finds one that does not', async () => {
    const directory = project('own-registry');
    const file = join(directory, 'json-registry.mjs');
    const text = readFileSync(file, 'utf8');
    const guard = 'if (known && !replace) return err(exists(name));';
    expect(text).toContain(guard);
    writeFileSync(file, text.replace(guard, ''));
    const { code, stdout } = await contract(directory);
    expect(code).toBe(1);
    expect(JSON.parse(stdout).numFailedTests).toBeGreaterThan(0);
  });
});

describe('test-with-doubles', () => {
  it('passes its own test, which is the one in docs/embedding.md', async () => {
    const own = project('test-with-doubles');
    const { code, stdout } = await node(['--test'], own);
    expect({ code, stdout }).toMatchObject({ code: 0 });
    const page = readFileSync(join(root, 'docs/embedding.md'), 'utf8');
    expect(page).toContain(readFileSync(join(own, 'actions.test.mjs'), 'utf8'));
  });
});
