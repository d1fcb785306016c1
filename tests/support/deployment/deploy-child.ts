/** What is killed: `node child.mjs DIRECTORY`, deploys the pairs of DIRECTORY/orders.json in turn, without end, a line each time one begins. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Deployment, deploy } from '../../../src/sdk/deploy/deploy.js';
import { allowing, realContext } from './context.js';

const [directory = ''] = process.argv.slice(2);
const orders = JSON.parse(readFileSync(join(directory, 'orders.json'), 'utf8')) as Deployment[];
const context = realContext(directory, 100);

for (let round = 0; ; round += 1) {
  const order = orders[round % orders.length];
  if (order === undefined) throw new Error('no orders');
  process.stdout.write(`begin ${round}\n`);
  const policy = allowing(context.policy, order.targetConfig as object);
  const outcome = await deploy({ ...context, policy }, order);
  if (outcome.isErr()) {
    process.stdout.write(`failed ${outcome.error.message}\n`);
    break;
  }
}
