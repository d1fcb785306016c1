import { expect, it } from 'vitest';
import { dispatcherOnDisk } from '../support/commands.js';

it('a script runs on a paired agent and its result comes back', async () => {
  const control = await dispatcherOnDisk();
  const web = await control.pairAgent('web-01');
  web.script('hello', '#!/bin/sh\necho "hello $1"\n');
  await web.serve();
  const { code, stdout } = await control.command('run', 'web-01', 'hello', '--', 'world');
  expect(stdout).toMatch(/^==> web-01 {2}\[OK {2}exit:0 {2}\d+ms {2}req:[0-9a-f]{16}\]\nhello world\n$/);
  expect(code).toBe(0);
});
