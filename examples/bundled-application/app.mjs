import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDispatcher } from 'ctrl-exec';
import { openAgent } from 'ctrl-exec/agent';

/**
 * @template T
 * @param {import('neverthrow').Result<T, import('ctrl-exec/errors').CtrlExecError>} result
 */
function must(result) {
  if (result.isErr()) throw new Error(`${result.error.code}: ${result.error.message}`);
  return result.value;
}

async function main() {
  const directory = await mkdtemp(join(tmpdir(), 'bundled-'));
  const home = join(directory, 'web-01');
  await mkdir(home);
  await writeFile(join(directory, 'hello'), '#!/bin/sh\necho "hello $1"\n', { mode: 0o755 });
  await writeFile(join(home, 'scripts.conf'), `hello = ${join(directory, 'hello')}\n`);
  const fleet = await openDispatcher({ home: join(directory, 'control') });
  const agent = await openAgent({ home });
  must(await fleet.setupCa());
  must(await fleet.setup());
  const mode = must(await fleet.openPairing({ port: 0, bind: '127.0.0.1' }));
  const { token } = must(await fleet.issueJoinToken({ host: 'web-01' }));
  const trust = /** @type {const} */ ({ kind: 'join', token });
  must(
    await agent.pair({ dispatcher: '127.0.0.1', port: mode.port, hostName: 'web-01', lookupBy: 'ip', trust }),
  );
  await mode.close();
  const serving = must(await agent.serve({ port: 0, bind: '127.0.0.1' }));
  const request = { hosts: ['web-01'], script: 'hello', args: ['bundle'], port: serving.port };
  const run = must(await fleet.run(request));
  const { reqid, results } = must(await fleet.submit(request));
  const { status } = must(await fleet.wait(reqid, { port: serving.port, timeout: 30 }));
  console.log(JSON.stringify({ run: run.results[0]?.stdout, submit: results[0], wait: status.results[0] }));
  await serving.close();
  await agent.close();
  await fleet.close();
  await rm(directory, { recursive: true });
}
main();
