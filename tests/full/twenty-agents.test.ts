import { createHash, X509Certificate } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { type Ended, temporaryDirectory } from '../support/commands/commands.js';
import { leaveNothingBehind } from '../support/kill/sweep.js';
import {
  type Inside,
  mayMakeNetworks,
  type NetworkNamespace,
  networkWith,
} from '../support/network/network-namespace.js';

leaveNothingBehind();

const possible = mayMakeNetworks();
const unless = possible ? '' : ' (skipped: network namespaces are not permitted here)';

const numbers = Array.from({ length: 20 }, (_, index) => index + 1);
const nameOf = (number: number) => `web-${String(number).padStart(2, '0')}`;
const addressOf = (number: number) => `10.77.0.${number}`;
const controlAddress = addressOf(100);

interface Scene {
  readonly network: NetworkNamespace;
  readonly dispatcher: string;
  readonly mode: Inside;
  readonly port: string;
  command(...args: string[]): Promise<Ended>;
  agentHome(number: number): string;
  /** Starts the agent's side; `by`: the address that it connects to, and so comes from. */
  request(number: number, by: string, ...args: string[]): Inside;
}

const succeeds = (ended: Ended): string => {
  expect(ended.code, ended.stdout + ended.stderr).toBe(0);
  return ended.stdout;
};

async function scene(conf = ''): Promise<Scene> {
  const network = await networkWith([controlAddress, ...numbers.map(addressOf)]);
  const root = temporaryDirectory();
  const dispatcher = join(root, 'dispatcher');
  mkdirSync(dispatcher);
  writeFileSync(join(dispatcher, 'ctrl-exec.conf'), `dispatcher_id = control\n${conf}`);
  const command = (...args: string[]) => network.run('ctrl-exec', dispatcher, ...args);
  succeeds(await command('setup-ca'));
  succeeds(await command('setup-ctrl-exec'));
  const mode = network.start('ctrl-exec', dispatcher, 'pairing-mode', '--port', '0');
  const port = await mode.shows(/Pairing mode on .*:(\d+)/);
  const agentHome = (number: number) => join(root, nameOf(number));
  for (const number of numbers) {
    mkdirSync(agentHome(number));
    writeFileSync(join(agentHome(number), 'agent.conf'), `bind = ${addressOf(number)}\n`);
  }
  return {
    network,
    dispatcher,
    mode,
    port,
    command,
    agentHome,
    request: (number, by, ...args) =>
      network.start(
        'ctrl-exec-agent',
        agentHome(number),
        ...['request-pairing', '--dispatcher', by, '--port', port, '--name', nameOf(number)],
        ...['--lookup-by', 'ip', ...args],
      ),
  };
}

/** Every agent has its own key, the one that the registry has for it; where they serve, all answer at once. */
async function allArePaired({ network, command, agentHome, mode }: Scene, serving: boolean): Promise<void> {
  const { agents } = JSON.parse(succeeds(await command('list-agents', '--json'))) as {
    agents: { name: string; keys: { state: string; spki_sha256: string }[] }[];
  };
  const held = numbers.map((number) => {
    const { publicKey } = new X509Certificate(readFileSync(join(agentHome(number), 'agent.crt')));
    const spki = publicKey.export({ type: 'spki', format: 'der' });
    return { name: nameOf(number), key: createHash('sha256').update(spki).digest('hex') };
  });
  expect(
    agents.map(({ name, keys }) => ({ name, key: keys.map(({ spki_sha256 }) => spki_sha256).join() })),
  ).toEqual(held);
  expect(new Set(agents.flatMap(({ keys }) => keys.map(({ state }) => state)))).toEqual(new Set(['active']));
  expect(new Set(held.map(({ key }) => key)).size).toBe(numbers.length);
  if (serving) {
    const daemons = numbers.map((number) => network.start('ctrl-exec-agent', agentHome(number), 'serve'));
    await Promise.all(daemons.map((daemon) => daemon.shows(/Serving on/)));
    succeeds(await command('ping', ...numbers.map(nameOf)));
  }
  mode.child.kill('SIGTERM');
  await mode.ended;
}

interface Waiting {
  readonly id: string;
  readonly ip: string;
  readonly state: string;
}

const refusals = (mode: Inside, reason: RegExp): number =>
  mode
    .output()
    .split('\n')
    .filter((line) => line.startsWith('ACTION=pairing-refused') && reason.test(line)).length;

it.skipIf(!possible)(
  `twenty agents of twenty addresses pair at once through a queue of ten, approved one by one${unless}`,
  { timeout: 600_000 },
  async () => {
    // All limits as they are by default.
    const all = await scene();
    const begun = performance.now();
    const requests = numbers.map((number) => all.request(number, addressOf(number)));
    const ended = Promise.all(requests.map(({ ended: end }) => end));
    let over = false;
    void ended.then(() => {
      over = true;
    });
    let most = 0;
    const approved = new Set<string>();
    while (!over) {
      const list = succeeds(await all.command('list-requests', '--json'));
      const waiting = (JSON.parse(list) as { requests: Waiting[] }).requests;
      most = Math.max(most, waiting.filter(({ state }) => state !== 'approved').length);
      for (const { id, ip } of waiting.filter(({ state }) => state === 'open')) {
        if (approved.has(id)) continue;
        approved.add(id);
        succeeds(await all.command('approve', id.slice(0, 8)));
        const asker = requests[numbers.findIndex((number) => addressOf(number) === ip)];
        expect(await asker?.shows(/Request ([0-9a-f]{8})/)).toBe(id.slice(0, 8));
        asker?.child.stdin?.end('y\n');
      }
      // The operator looks at the list again and again; nothing else tells when a place has become free.
      await Promise.race([ended, delay(200)]);
    }
    for (const each of await ended) succeeds(each);
    const seconds = ((performance.now() - begun) / 1000).toFixed(1);
    console.log(
      `twenty addresses: all paired after ${seconds} s, at most ${most} waited at once, ${refusals(all.mode, /queue_full/)} times the queue was full`,
    );
    expect(most).toBeGreaterThan(2);
    expect(most).toBeLessThanOrEqual(10);
    expect(refusals(all.mode, /10 requests are waiting/)).toBeGreaterThan(0);
    await allArePaired(all, true);
  },
);

it.skipIf(!possible)(
  `twenty agents behind one address pair at once, two at a time, by join tokens${unless}`,
  { timeout: 900_000 },
  async () => {
    const all = await scene('pairing_rate_limit_volume = 1000/60/1\n');
    const tokens: string[] = [];
    for (const number of numbers)
      tokens.push(succeeds(await all.command('join-token', '--host', nameOf(number), '--ttl', '1h')).trim());
    const begun = performance.now();
    const requests = numbers.map((number, index) => {
      const file = join(all.agentHome(number), 'token');
      writeFileSync(file, tokens[index] ?? '', { mode: 0o600 });
      return all.request(number, controlAddress, '--join', `@${file}`);
    });
    for (const each of await Promise.all(requests.map(({ ended }) => ended))) succeeds(each);
    const seconds = ((performance.now() - begun) / 1000).toFixed(1);
    console.log(
      `one address: all paired after ${seconds} s, ${refusals(all.mode, /of this address are waiting/)} times two were waiting already`,
    );
    expect(refusals(all.mode, /2 requests of this address are waiting/)).toBeGreaterThan(0);
    await allArePaired(all, false);
  },
);
