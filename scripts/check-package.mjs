// Packs the package, installs the tarball in an empty folder, and uses it there as its users do.
import { execFileSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const directory = mkdtempSync(join(tmpdir(), 'ctrl-exec-package-'));

/** @param {string} cwd @param {string} command @param {string[]} args */
const run = (cwd, command, ...args) =>
  execFileSync(command, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });

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
  run(directory, 'npm', 'install', '--ignore-scripts', '--no-audit', '--no-fund', `./${tarball}`);
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

  // Types of every entry as users compile them, declarations of the package included.
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const entries = Object.keys(exports).filter((entry) => entry !== './package.json');
  const link = (/** @type {string} */ name) => {
    mkdirSync(dirname(join(directory, 'node_modules', name)), { recursive: true });
    symlinkSync(join(root, 'node_modules', name), join(directory, 'node_modules', name));
  };
  for (const name of ['vitest', 'fast-check', '@types/node']) {
    rmSync(join(directory, 'node_modules', name), { recursive: true, force: true });
    link(name);
  }
  writeFileSync(
    join(directory, 'entries.ts'),
    entries.map((entry) => `export type * from '${entry.replace('.', 'ctrl-exec')}';`).join('\n'),
  );
  writeFileSync(
    join(directory, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: {
        module: 'nodenext',
        target: 'es2023',
        lib: ['es2023', 'esnext.disposable'],
        strict: true,
        noEmit: true,
        skipLibCheck: true,
        types: ['node'],
      },
      files: ['entries.ts'],
    }),
  );
  run(directory, bin('tsc'), '-p', '.');
  expect(`the types of ${entries.length} entries to compile`, true);

  const example = join(directory, 'node_modules/ctrl-exec/examples/own-registry');
  cpSync(example, join(directory, 'own-registry'), { recursive: true });
  const own = join(directory, 'own-registry');
  expect('an example to run', run(own, process.execPath, 'run.mjs').startsWith('web-01 0 hello world'));
  const tested = run(
    own,
    process.execPath,
    join(root, 'node_modules/vitest/vitest.mjs'),
    'run',
    '--reporter=json',
  );
  expect('its adapter to pass the published suite', JSON.parse(tested).numPassedTests > 50);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
