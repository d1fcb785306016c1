// Writes docs/openapi.json from the routes of the API as the command has them, in the version of the package.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const { version, dependencies } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8'));

// Within the package, so that what stays outside of the bundle is found.
const directory = mkdtempSync(`${root}/.dist-`);
try {
  const outfile = `${directory}/routes.mjs`;
  await build({
    absWorkingDir: root,
    entryPoints: ['src/apps/api/routes.ts'],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    external: Object.keys(dependencies),
    logLevel: 'warning',
  });
  const { apiRoutes } = await import(pathToFileURL(outfile).href);
  const document = apiRoutes(version, async () => ({ contentType: 'text/plain', text: '' })).describe('');
  writeFileSync(`${root}/docs/openapi.json`, `${JSON.stringify(document, null, 2)}\n`);
} finally {
  rmSync(directory, { recursive: true, force: true });
}
