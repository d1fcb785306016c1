import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import Libsql from 'libsql';
import { expect, it } from 'vitest';
import { type CommandName, commandFile, temporaryDirectory } from '../support/commands/commands.js';

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

it.each([
  ['/dev/full', '> /dev/full', []],
  ['/dev/full with --json', '> /dev/full', ['--json']],
  ['a pipe that nobody reads any more', '| (exec <&-; sleep 4)', []],
])('a join token that cannot be written to %s is taken back (needs /dev/full)', (_what, to, options) => {
  const home = temporaryDirectory();
  for (const command of ['setup-ca', 'setup-ctrl-exec'])
    expect(shell(`exec "$@" --home ${home} ${command}`, 'ctrl-exec').status).toBe(0);
  const issue = `--home ${home} join-token --host web-01 ${options.join(' ')}`;
  const { stderr, stdout } = shell(
    `{ sleep 1; "$@" ${issue}; echo "ended with $?" >&2; } ${to}`,
    'ctrl-exec',
  );
  expect(stdout).toBe('');
  expect(stderr).toContain('the token could not be written, and was taken back: nobody can pair with it\n');
  expect(stderr).toMatch(/ended with 1\n$/);
  const kept = new Libsql(join(home, 'state/ctrl-exec.db')).prepare('SELECT name, bound_to FROM join_tokens');
  expect(kept.all()).toEqual([{ name: 'web-01', bound_to: 'taken back' }]);
});
