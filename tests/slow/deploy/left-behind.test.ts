import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { it } from 'vitest';
import { runCommand } from '../../../src/sdk/deploy/commands.js';
import { value } from '../../contract/result.js';
import { realContext } from '../../support/deployment/context.js';
import { eventually, scriptDirectory } from '../../unit/adapters/child-process/scripts.js';

const { directory, shell } = scriptDirectory();

it('what a reload command leaves behind can go on writing', async () => {
  const [pidFile, trace] = [join(directory, 'pid'), join(directory, 'trace')];
  const program = shell(
    `setsid sh -c 'echo $$ >"$0"; while :; do echo tick; echo alive >>"$1"; sleep 0.02; done' "$1" "$2" &
     while [ ! -s "$1" ]; do :; done`,
  );
  value(await runCommand(realContext(directory), { program, args: [pidFile, trace] }));
  const size = () => (existsSync(trace) ? readFileSync(trace).length : 0);
  try {
    const soFar = size();
    await eventually(() => size() > soFar + 60);
  } finally {
    process.kill(Number(readFileSync(pidFile, 'utf8')), 'SIGKILL');
  }
});
