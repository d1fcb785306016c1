// An agent with functions, as a program of its own: `node actions-agent.mjs HOME`. What actions do is noted in HOME/log.
import { appendFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { openAgent } from 'ctrl-exec/agent';

const home = process.argv[2] ?? '';
const note = (/** @type {string} */ line) => appendFileSync(join(home, 'log'), `${line}\n`);
/** Waits for the file `open` in the home. @param {AbortSignal=} signal */
const gate = async (signal) => {
  while (!existsSync(join(home, 'open'))) await delay(10, undefined, signal && { signal });
};

/** @type {import('ctrl-exec/agent').Actions} */
const actions = {
  hello: ({ args, username }) => `hello ${args.join(' ')} from ${username}`,
  argv: ({ args }) => JSON.stringify(args),
  told: ({ signal: _, stdout: __, stderr: ___, ...context }) => JSON.stringify(context),
  code: ({ args }) => Number(args[0]),
  throws: () => {
    throw new Error('the index is broken');
  },
  flood: async ({ stdout, stderr }) => {
    for (let part = 0; part < 64; part += 1) await stdout.write('x'.repeat(64 * 1024));
    await stderr.write('done');
  },
  chatty: async ({ stdout, stderr, signal }) => {
    await stdout.write('one\n');
    await stderr.write('two\n');
    await gate(signal);
    await stdout.write('three\n');
  },
  heeds: async ({ signal, reqid }) => {
    note(`begun ${reqid}`);
    try {
      await gate(signal);
    } catch (error) {
      note(`told ${signal.reason?.name}`);
      throw error;
    }
    note(`ended ${reqid}`);
  },
  ignores: async () => {
    note('begun');
    await gate();
    note('ended');
  },
  described: { run: () => 7, schema: { description: 'Seven.', version: '3', read_only: true } },
};

const agent = await openAgent({
  home,
  actions,
  events: { emit: (event) => console.log(JSON.stringify(event)) },
});
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());
const started = await agent.serve({ signal: stop.signal });
if (started.isErr()) {
  console.log(`refused: ${JSON.stringify(started.error)}`);
  process.exitCode = 78;
} else {
  process.on('SIGHUP', () => void started.value.reload());
  console.log(`Serving on ${started.value.port}`);
}
