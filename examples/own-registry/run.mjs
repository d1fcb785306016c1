// A dispatcher whose agents are in agents.json: pairs one, runs a script on it, and shows who is in the file.
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDispatcher } from 'ctrl-exec';
import { openAgent } from 'ctrl-exec/agent';
import { jsonRegistry } from './json-registry.mjs';

const directory = await mkdtemp(join(tmpdir(), 'own-registry-'));
const file = join(directory, 'agents.json');
const agentHome = join(directory, 'web-01');
await mkdir(agentHome);
await writeFile(join(directory, 'hello'), '#!/bin/sh\necho "hello $1"\n', { mode: 0o755 });
await writeFile(join(agentHome, 'scripts.conf'), `hello = ${join(directory, 'hello')}\n`);

const fleet = await openDispatcher({
  home: join(directory, 'control'),
  ports: { registry: jsonRegistry(file) },
});
const agent = await openAgent({ home: agentHome });

/** @template T @param {import('neverthrow').Result<T, { message: string }>} outcome */
const orThrow = (outcome) => {
  if (outcome.isErr()) throw new Error(outcome.error.message);
  return outcome.value;
};

try {
  orThrow(await fleet.setupCa());
  orThrow(await fleet.setup());
  const pairing = orThrow(await fleet.openPairing({ port: 0, bind: '127.0.0.1' }));
  const { token } = orThrow(await fleet.issueJoinToken({ host: 'web-01' }));
  orThrow(
    await agent.pair({
      dispatcher: '127.0.0.1',
      port: pairing.port,
      hostName: 'web-01',
      lookupBy: 'ip',
      trust: { kind: 'join', token },
    }),
  );
  orThrow(await pairing.close());

  const serving = orThrow(await agent.serve({ port: 0, bind: '127.0.0.1' }));
  const { port } = serving;
  const run = orThrow(await fleet.run({ hosts: ['web-01'], script: 'hello', args: ['world'], port }));
  for (const { host, exit, stdout, error } of run.results) console.log(host, exit, error ?? stdout.trim());
  await serving.close();

  const { agents } = JSON.parse(await readFile(file, 'utf8'));
  for (const [name, { record }] of agents) console.log('in the file:', name, record.pins[0].state);
} finally {
  await agent.close();
  await fleet.close();
  await rm(directory, { recursive: true });
}
