import { setTimeout as delay } from 'node:timers/promises';
import { openAgent } from 'ctrl-exec/agent';

/** @typedef {import('ctrl-exec/agent').Actions} Actions */

const documents = new Map([
  ['welcome', 'A page about pairing.'],
  ['limits', 'A page about limits.'],
]);
const index = new Map();

/** @type {Actions} */
const actions = {
  /** What is returned is printed. */
  count: () => `${index.size} of ${documents.size} documents are indexed\n`,

  /** Arguments come from outside: a function judges them itself. A schema tells dispatchers what it takes. */
  lookup: {
    schema: {
      description: 'Prints one document.',
      read_only: true,
      arguments: { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] },
      argv: [{ arg: 'name' }],
    },
    run: ({ args: [name = ''] }) => {
      const text = documents.get(name);
      if (text === undefined) throw new Error(`there is no document ${JSON.stringify(name)}`);
      return `${text}\n`;
    },
  },

  /** Takes its time, says how far it is, and stops when it is told to. */
  async reindex({ args: [pause = '100'], username, signal, stdout }) {
    await stdout.write(`reindexing for ${username || 'somebody'}\n`);
    for (const [name, text] of documents) {
      await delay(Math.min(Number(pause) || 0, 60_000), undefined, { signal });
      index.set(name, text.split(' '));
      await stdout.write(`${name} done\n`);
    }
  },
};

const home = process.argv[2] ?? './web-01';
const agent = await openAgent({ home, actions });
const stop = new AbortController();
for (const name of ['SIGTERM', 'SIGINT']) process.once(name, () => stop.abort());

const started = await agent.serve({ signal: stop.signal });
if (started.isErr()) {
  console.error(started.error.message);
  process.exitCode = 1;
} else console.log(`Serving on ${started.value.bind}:${started.value.port}`);
