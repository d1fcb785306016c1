import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { type CommandName, commandFile } from '../support/commands/commands.js';

const commands: readonly CommandName[] = ['ctrl-exec', 'ctrl-exec-agent', 'ctrl-exec-api'];

/** What a shell makes of a line in which `"$@"` is the command. */
const shell = (line: string, command: CommandName) =>
  spawnSync('sh', ['-c', line, 'sh', process.execPath, commandFile(command)], { encoding: 'utf8' });

it.each(commands)('%s whose output cannot be written says so and exits 1 (needs /dev/full)', (command) => {
  const { status, stderr } = shell('exec "$@" --help > /dev/full', command);
  expect(stderr).toMatch(/^cannot write to standard output: ENOSPC.*\n$/);
  expect(status).toBe(1);
});

it.each(commands)('%s refuses an argument that is not UTF-8 (needs /proc)', (command) => {
  const refused = shell('exec "$@" --help "$(printf \'bad\\377byte\')"', command);
  expect(refused.stderr).toBe('argument 2 is not UTF-8: its bytes would not arrive as they are\n');
  expect([refused.status, refused.stdout]).toEqual([64, '']);
  // U+FFFD itself is text.
  expect(shell('exec "$@" --help "$(printf \'\\357\\277\\275\')"', command).status).toBe(0);
});
