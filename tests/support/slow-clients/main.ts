// A process of slow clients: what they are comes on standard input as one line of JSON, and they end with it. How it
// goes is said on standard output, a line of JSON each time.
import { createInterface } from 'node:readline';
import { slowClients, slowStages } from './clients.js';

const lines = createInterface({ input: process.stdin });
lines.once('line', (line) => {
  const { count, ...options } = JSON.parse(line);
  const clients = slowClients(count, options);
  const telling = setInterval(() => {
    const ended = slowStages.filter((stage) => clients.ended(stage) > 0);
    process.stdout.write(`${JSON.stringify({ ended, most: clients.most() })}\n`);
  }, 100);
  lines.once('close', () => {
    clearInterval(telling);
    clients.stop();
  });
});
