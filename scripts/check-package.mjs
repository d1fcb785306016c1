// Packs the package, installs the tarball in an empty folder, and uses it there as its users do.
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'ctrl-exec-package-'));

/** @param {string} cwd @param {string} command @param {string[]} args */
const run = (cwd, command, ...args) =>
  execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });

/** @param {string} cwd @param {string[]} what */
const install = (cwd, ...what) =>
  run(cwd, 'npm', 'install', '--ignore-scripts', '--no-audit', '--no-fund', ...what);

/** @param {string} what @param {boolean} holds */
function expect(what, holds) {
  if (!holds) throw new Error(`the package: expected ${what}`);
  process.stdout.write(`ok  ${what}\n`);
}

try {
  run(root, 'npm', 'pack', '--silent', '--ignore-scripts', '--pack-destination', directory);
  const [tarball = ''] = readdirSync(directory).filter((name) => name.endsWith('.tgz'));
  const bin = (/** @type {string} */ name) => join(root, 'node_modules/.bin', name);
  run(root, bin('publint'), '--strict', join(directory, tarball));
  run(root, bin('attw'), '--profile', 'esm-only', join(directory, tarball));
  expect('publint and attw to be content', true);

  writeFileSync(
    join(directory, 'package.json'),
    '{ "name": "elsewhere", "private": true, "type": "module" }',
  );
  install(directory, `./${tarball}`);
  const command = (/** @type {string} */ name, /** @type {string[]} */ ...args) =>
    run(directory, join(directory, 'node_modules/.bin', name), ...args);
  for (const name of ['ctrl-exec', 'ced', 'ctrl-exec-agent', 'cea', 'ctrl-exec-api'])
    expect(`${name} --version to answer`, /^\d+\.\d+\.\d+$/.test(command(name, '--version').trim()));
  const fingerprint = /fingerprint: ([0-9A-F:]{95})/.exec(
    command('ctrl-exec', '--home', './fleet', 'setup-ca'),
  )?.[1];
  expect('setup-ca to print a fingerprint', fingerprint !== undefined);
  expect(
    'ca-fingerprint to print the same',
    command('ctrl-exec', '--home', './fleet', 'ca-fingerprint').trim() === fingerprint,
  );

  writeFileSync(
    join(directory, 'use.mjs'),
    `import { openDispatcher } from 'ctrl-exec';
     import { openAgent } from 'ctrl-exec/agent';
     import 'ctrl-exec/ports';
     import { failure } from 'ctrl-exec/errors';
     const fleet = await openDispatcher({ home: './fleet' });
     const ca = await fleet.ca();
     const unset = await fleet.run({ hosts: ['nobody'], script: 'nothing' });
     const agent = await openAgent({ home: './agent' });
     const status = await agent.pairingStatus();
     await fleet.close();
     await agent.close();
     console.log(JSON.stringify({
       fingerprint: ca._unsafeUnwrap().fingerprint,
       code: unset._unsafeUnwrapErr().code,
       paired: status._unsafeUnwrap().paired,
       failure: typeof failure,
     }));`,
  );
  const used = JSON.parse(run(directory, process.execPath, 'use.mjs'));
  expect('the library to read the same CA', used.fingerprint === fingerprint);
  expect('a run without an identity to say so', used.code === 'identity_missing');
  expect('an agent that is not paired to say so', used.paired === false);

  // Types of every entry as users compile them: without DOM, declarations of the package included.
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const entries = Object.keys(exports).filter((entry) => entry !== './package.json');
  writeFileSync(
    join(directory, 'entries.ts'),
    entries.map((entry) => `export type * from '${entry.replace('.', 'ctrl-exec')}';`).join('\n'),
  );
  install(directory, '@types/node@20', 'ts54@npm:typescript@5.4', 'ts6@npm:typescript@6');
  const compilers = {
    5.4: join(directory, 'node_modules/ts54/bin/tsc'),
    5.9: join(root, 'node_modules/typescript/bin/tsc'),
    6: join(directory, 'node_modules/ts6/bin/tsc'),
  };
  for (const [compiler, file] of Object.entries(compilers))
    for (const [module, moduleResolution] of [
      ['node16', 'node16'],
      ['nodenext', 'nodenext'],
      ['esnext', 'bundler'],
    ]) {
      const compilerOptions = {
        module,
        moduleResolution,
        target: 'es2022',
        lib: ['es2022'],
        strict: true,
        noEmit: true,
        skipLibCheck: false,
        types: ['node'],
      };
      const configuration = JSON.stringify({ compilerOptions, files: ['entries.ts'] });
      writeFileSync(join(directory, 'tsconfig.json'), configuration);
      run(directory, process.execPath, file, '-p', '.');
      expect(`${entries.length} entries to compile by TypeScript ${compiler}, ${moduleResolution}`, true);
    }

  // One file of a program and the library, in both formats; async runs of scripts included.
  const app = join(directory, 'node_modules/ctrl-exec/examples/bundled-application/app.mjs');
  const banner =
    "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);";
  const bundled = join(directory, 'bundled');
  const alone = join(directory, 'alone');
  for (const [format, name, js] of /** @type {const} */ ([
    ['cjs', 'app.cjs', ''],
    ['esm', 'app.mjs', banner],
  ])) {
    await build({
      entryPoints: [app],
      bundle: true,
      platform: 'node',
      format,
      banner: { js },
      external: ['libsql'],
      outfile: join(bundled, name),
      logLevel: 'error',
    });
    const { run: ran, submit, wait } = JSON.parse(run(bundled, process.execPath, name));
    const well = ran === 'hello bundle\n' && submit.state === 'running' && wait.stdout === ran;
    expect(`a program bundled as ${format} to run and submit`, well);
  }
  // Without the package: what is needed is said.
  mkdirSync(join(alone, 'node_modules'), { recursive: true });
  cpSync(join(bundled, 'app.cjs'), join(alone, 'app.cjs'));
  for (const name of ['libsql', '@libsql', '@neon-rs', 'detect-libc'])
    if (existsSync(join(root, 'node_modules', name)))
      symlinkSync(join(root, 'node_modules', name), join(alone, 'node_modules', name));
  const elsewhere = mkdtempSync(join(tmpdir(), 'ctrl-exec-alone-'));
  try {
    renameSync(alone, join(elsewhere, 'alone'));
    const { submit } = JSON.parse(run(join(elsewhere, 'alone'), process.execPath, 'app.cjs'));
    expect('a bundle without the package to say how jobs are run', submit.error.includes('jobSupervisor'));
  } finally {
    rmSync(elsewhere, { recursive: true, force: true });
  }

  // Beside other test runners than ours.
  install(directory, 'vitest@3', 'fast-check@3');
  writeFileSync(
    join(directory, 'doubles.mjs'),
    `import { memoryFleet } from 'ctrl-exec/testing';
     const fleet = await memoryFleet({ agents: { web: { actions: { hello: () => 'hello' } } } });
     const run = await fleet.run({ hosts: ['web'], script: 'hello' });
     await fleet.close();
     console.log(run._unsafeUnwrap().results[0].stdout);`,
  );
  expect(
    'the doubles to need no test runner',
    run(directory, process.execPath, 'doubles.mjs').trim() === 'hello',
  );

  const example = join(directory, 'node_modules/ctrl-exec/examples/own-registry');
  cpSync(example, join(directory, 'own-registry'), { recursive: true });
  const own = join(directory, 'own-registry');
  expect('an example to run', run(own, process.execPath, 'run.mjs').startsWith('web-01 0 hello world'));
  const tested = run(
    own,
    process.execPath,
    join(directory, 'node_modules/vitest/vitest.mjs'),
    'run',
    '--reporter=json',
  );
  expect(
    'its adapter to pass the published suite of vitest 3 and fast-check 3',
    JSON.parse(tested).numPassedTests > 50,
  );
} finally {
  rmSync(directory, { recursive: true, force: true });
}
