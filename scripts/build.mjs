// Builds the package into dist/: the commands bundled with what they need, the library one file per entry with types.
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const { version, dependencies } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8'));

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

/**
 * Makes declarations of what stands behind the entries compile everywhere: TypeScript before 5.7 has no `Uint8Array<…>`, and the
 * types of structured-headers need those of a browser. No entry names either.
 * @param {string} file
 */
function widen(file) {
  const text = readFileSync(file, 'utf8');
  const widened = text
    .replaceAll(/\bUint8Array<ArrayBuffer(Like)?>/g, 'Uint8Array')
    .replaceAll(/^import (?:type )?\{([^}]+)\} from 'structured-headers';$/gm, (_import, names) =>
      names
        .split(',')
        .map((/** @type {string} */ name) => `type ${name.replace('type', '').trim()} = any;`)
        .join('\n'),
    );
  if (widened !== text) writeFileSync(file, widened);
}

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
      'testing/contracts': 'src/apps/library/testing/contracts.ts',
    },
    outdir: `${fresh}/library`,
    chunkNames: 'chunks/[name]-[hash]',
    // The suites run with the test runner of whoever calls them.
    external: [...Object.keys(dependencies), 'vitest', 'fast-check'],
  }),
]);

// Daemons are started by a line of shell that JavaScript takes for a text and a comment. It does what Node cannot: it tells
// the soft limit of open files before Node raises it, and as the first process of a container it stays, reaps the orphans
// of scripts, passes signals on (a terminal sends SIGINT to the whole group by itself) and ends as Node did.
const launcher = [
  'export CTRL_EXEC_OPEN_FILES="$(ulimit -Sn)"',
  '[ $$ = 1 ] || exec node "$0" "$@"',
  '(exec 3<&0) 2>/dev/null || exec </dev/null',
  'exec 3<&0; node "$0" "$@" <&3 3<&- & c=$!; exec 3<&-',
  "trap 'kill -TERM $c' TERM; trap 'kill -HUP $c' HUP; trap '[ -t 0 ] || kill -INT $c' INT",
  'while wait $c; s=$?; kill -0 $c 2>/dev/null; do :; done; exit $s',
];
const starts = {
  'ctrl-exec': '#!/usr/bin/env node',
  'ctrl-exec-agent': `#!/usr/bin/env sh\n':' //; ${launcher.join('; ')}`,
  'ctrl-exec-api': `#!/usr/bin/env sh\n':' //; ${launcher.join('; ')}`,
};

// They go in front of the banner; esbuild would put a hash-bang behind it.
for (const [name, start] of Object.entries(starts)) {
  const file = `${fresh}/bin/${name}.js`;
  writeFileSync(file, `${start}\n${readFileSync(file, 'utf8')}`);
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
  for (const name of readdirSync(`${fresh}/types`, { recursive: true, encoding: 'utf8' }))
    if (name.endsWith('.d.ts')) widen(`${fresh}/types/${name}`);
}

rmSync(`${root}/dist`, { recursive: true, force: true });
renameSync(fresh, `${root}/dist`);
process.exitCode = status;
