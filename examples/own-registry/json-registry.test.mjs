// Keeps the registry honest: whatever the port promises, this file proves. `npx vitest run` in this directory.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { registryContract } from 'ctrl-exec/testing/contracts';
import { onTestFinished } from 'vitest';
import { jsonRegistry } from './json-registry.mjs';

/** A file that is not there yet, in a directory that goes with the test. */
function place() {
  const directory = mkdtempSync(join(tmpdir(), 'own-registry-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  return join(directory, 'agents.json');
}

registryContract(
  'a JSON file',
  () => jsonRegistry(place()),
  async () => {
    const file = place();
    return [jsonRegistry(file), jsonRegistry(file)];
  },
);
