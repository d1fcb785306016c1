import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { imported, root } from '../support/import-probe/imported.js';

const { name, exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
const entries = Object.keys(exports)
  .filter((entry) => entry !== './package.json')
  .map((entry) => entry.replace('.', name));

// The suites bring a test runner along, which is for tests.
const quiet = entries.filter((entry) => entry !== 'ctrl-exec/testing/contracts');

describe('importing an entry', () => {
  it.each(quiet)('%s says nothing, changes nothing and leaves nothing open', async (entry) => {
    const { changes, stderr, code } = await imported(entry);
    // zod keeps one registry for all of its copies.
    const own = changes.filter((each) => !/^globalThis: \+__zod_/.test(each));
    expect({ own, stderr, code }).toEqual({ own: [], stderr: '', code: 0 });
    if (entry !== 'ctrl-exec/express') expect(changes).toEqual([]);
  });
});
