import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { temporaryDirectory } from '../../support/commands/commands.js';
import { imported, root } from '../../support/import-probe/imported.js';

/** A module for the probe to find out about. */
function planted(text: string): string {
  const file = join(temporaryDirectory(), 'planted.mjs');
  writeFileSync(file, text);
  return file;
}

describe('importing an entry', () => {
  it('the suites can be imported without a test that runs', async () => {
    const { exports, stderr, code } = await imported('ctrl-exec/testing/contracts');
    expect({ stderr, code }).toEqual({ stderr: '', code: 0 });
    expect(exports.length).toBeGreaterThan(15);
    expect(exports.filter((each) => !each.endsWith('Contract'))).toEqual([]);
  });

  const light = ['ipaddr.js', 'neverthrow', 'structured-headers'];
  it.each([
    ['ctrl-exec', light],
    ['ctrl-exec/agent', light],
    ['ctrl-exec/client', ['neverthrow']],
    ['ctrl-exec/errors', []],
    ['ctrl-exec/ports', []],
  ])('%s loads what is cheap, and neither express nor commander nor tsyringe', async (entry, packages) => {
    expect((await imported(entry)).packages).toEqual(packages);
  });
});

describe('the probe finds', () => {
  it.each([
    ['a new global', 'globalThis.left = 1;', 'globalThis: +left'],
    ['a global that is gone', 'delete globalThis.fetch;', 'globalThis: -fetch'],
    ['a changed prototype', 'Object.prototype.left = 1;', 'Object.prototype: +left'],
    ['the environment', "process.env.LEFT = '1';", 'environment: +LEFT=1'],
    ['a listener', "process.on('SIGUSR2', () => {}); process.exitCode = 0;", 'listeners: +SIGUSR2'],
    ['the umask', 'process.umask(0o27);', 'place: +23'],
    ['a timer', 'setTimeout(() => {}, 50);', 'resources: +Timeout'],
    ['a timer that nobody waits for', 'setTimeout(() => {}, 50_000).unref();', 'resources: +Timeout'],
    ['a server', "(await import('node:net')).createServer().listen(0).unref();", 'resources: +TCPSERVERWRAP'],
  ])('%s', async (_what, text, change) => {
    const end = text.includes('SIGUSR2')
      ? "\nsetTimeout(() => process.removeAllListeners('SIGUSR2'), 10);"
      : '';
    expect((await imported(planted(text + end))).changes).toContain(change);
  });

  it.each(['express', 'commander', 'tsyringe', 'zod'])('%s, imported or required', async (library) => {
    const at = JSON.stringify(join(root, 'package.json'));
    const required = planted(
      `import { createRequire } from 'node:module'; const require = createRequire(${at}); globalThis.Reflect.getMetadata ??= () => {}; require('${library}');`,
    );
    expect((await imported(required)).packages).toContain(library);
    const url = JSON.stringify(import.meta.resolve(library));
    expect(
      (await imported(planted(`Reflect.getMetadata ??= () => {}; await import(${url});`))).packages,
    ).toContain(library);
  });
});
