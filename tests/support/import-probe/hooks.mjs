// Writes the address of every module that is resolved to file descriptor 3, a line each.
import { writeSync } from 'node:fs';

/** @type {import('node:module').ResolveHook} */
export async function resolve(specifier, context, nextResolve) {
  const resolved = await nextResolve(specifier, context);
  writeSync(3, `${resolved.url}\n`);
  return resolved;
}
