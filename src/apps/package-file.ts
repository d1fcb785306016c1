import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * A file or directory of this package, by its path in there: beside this code, or, where a bundler has moved the code, in the package
 * `ctrl-exec` that this program can require. Undefined: neither.
 * @param places from the commands, from their and the library's chunks and entries, and from the source
 */
export function packageFile(places: readonly string[], inPackage: string): string | undefined {
  // In a CommonJS bundle `import.meta` is empty.
  const here: string | undefined = import.meta.url;
  const beside = here === undefined ? [] : places.map((place) => fileURLToPath(new URL(place, here)));
  return beside.find((path) => existsSync(path)) ?? installed(here, inPackage);
}

function installed(here: string | undefined, inPackage: string): string | undefined {
  const from = here ?? (typeof __filename === 'string' ? __filename : join(process.cwd(), 'main.js'));
  try {
    const path = join(dirname(createRequire(from).resolve('ctrl-exec/package.json')), inPackage);
    return existsSync(path) ? path : undefined;
  } catch {
    return undefined;
  }
}
