// Builds the package into dist/: the commands bundled with what they need, the library one file per entry with types.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const { version, dependencies, peerDependencies } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8'));

/** @type {import('esbuild').BuildOptions} */
const shared = {
  absWorkingDir: root,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  define: { __CTRL_EXEC_VERSION__: JSON.stringify(version) },
  legalComments: 'none',
  logLevel: 'warning',
};

// Built aside and put in place at the end, so that whoever runs the commands meanwhile finds all of the old ones.
const fresh = mkdtempSync(`${root}/.dist-`);
chmodSync(fresh, 0o755);

await Promise.all([
  // The commands carry their dependencies (loading them from node_modules costs more than the commands themselves);
  // libsql has a native part and stays outside.
  build({
    ...shared,
    entryPoints: {
      'ctrl-exec': 'src/apps/cli/main.ts',
      'ctrl-exec-agent': 'src/apps/agent/main.ts',
      'ctrl-exec-api': 'src/apps/api/main.ts',
    },
    outdir: `${fresh}/bin`,
    chunkNames: 'chunks/[name]-[hash]',
    external: ['libsql'],
    minifySyntax: true,
    banner: {
      // Bundled CommonJS packages call require for node: built-ins.
      js: "import { createRequire as __createRequire } from 'node:module';const require = __createRequire(import.meta.url);",
    },
  }),
  // Started once for each job and there as long as it runs: one small file.
  build({
    ...shared,
    splitting: false,
    entryPoints: { 'job-supervisor': 'src/adapters/child-process/job-supervisor.ts' },
    outdir: fresh,
    minifySyntax: true,
  }),
  build({
    ...shared,
    entryPoints: {
      index: 'src/apps/library/index.ts',
      agent: 'src/apps/library/agent.ts',
      express: 'src/apps/library/express.ts',
      client: 'src/apps/library/client.ts',
      errors: 'src/apps/library/errors.ts',
      ports: 'src/apps/library/ports.ts',
      testing: 'src/apps/library/testing.ts',
    },
    outdir: `${fresh}/library`,
    chunkNames: 'chunks/[name]-[hash]',
    external: Object.keys({ ...dependencies, ...peerDependencies }),
  }),
]);

// The hash-bang goes in front of the banner; esbuild would put it behind.
for (const name of ['ctrl-exec', 'ctrl-exec-agent', 'ctrl-exec-api']) {
  const file = `${fresh}/bin/${name}.js`;
  writeFileSync(file, `#!/usr/bin/env node\n${readFileSync(file, 'utf8')}`);
  chmodSync(file, 0o755);
}

// What the documentation page of the API loads; the package itself would bring telemetry along.
mkdirSync(`${fresh}/docs-page`);
for (const name of ['swagger-ui.css', 'swagger-ui-bundle.js', 'LICENSE', 'NOTICE'])
  cpSync(`${root}/node_modules/swagger-ui-dist/${name}`, `${fresh}/docs-page/${name}`);

let status = 0;
if (!process.argv.includes('--no-types')) {
  const compiler = `${root}/node_modules/typescript/bin/tsc`;
  const args = [compiler, '-p', `${root}/tsconfig.build.json`, '--outDir', `${fresh}/types`];
  status = spawnSync(process.execPath, args, { stdio: 'inherit' }).status ?? 1;
}

rmSync(`${root}/dist`, { recursive: true, force: true });
renameSync(fresh, `${root}/dist`);
process.exitCode = status;
