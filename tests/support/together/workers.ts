import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { type AgentOnDisk, agentOnDisk, type DispatcherOnDisk, type Ended, start } from '../commands.js';

/** What a worker did, and whatever it met that a user must not meet. */
export interface Work {
  readonly counts: Readonly<Record<string, number>>;
  readonly problems: readonly string[];
}

interface Ledger {
  readonly counts: Record<string, number>;
  readonly problems: string[];
  /** Counts a command that ended with 0; anything else is a problem. */
  done(what: string, command: Promise<Ended>): Promise<Ended>;
}

function ledger(): Ledger {
  const counts: Record<string, number> = {};
  const problems: string[] = [];
  return {
    counts,
    problems,
    async done(what, command) {
      const ended = await command;
      if (ended.code === 0) counts[what] = (counts[what] ?? 0) + 1;
      else problems.push(`${what}: exit ${ended.code}: ${ended.stdout}${ended.stderr}`);
      return ended;
    },
  };
}

const deadlineIn = (seconds: number) => {
  const until = performance.now() + seconds * 1000;
  return () => performance.now() < until;
};

interface ListedAgent {
  readonly name: string;
  readonly hostname: string;
  readonly tags: Readonly<Record<string, string>>;
}

const agentsIn = (stdout: string): readonly ListedAgent[] =>
  stdout === '' ? [] : (JSON.parse(stdout) as { agents: ListedAgent[] }).agents;

/** A person at a terminal: edits its own agent, runs its script, asks all for their tags, looks at the list, pings. */
export async function workAtTheCommandLine(
  control: DispatcherOnDisk,
  own: string,
  all: readonly string[],
  seconds: number,
): Promise<Work> {
  const { counts, problems, done } = ledger();
  const goOn = deadlineIn(seconds);
  for (let round = 1; round === 1 || goOn(); round += 1) {
    const host = `${own}-${round}.example`;
    await done('edits', control.command('edit-agent', own, '--hostname', host));
    await done('runs', control.command('run', own, 'count'));
    await done('discoveries', control.command('discovery', ...all));
    const { stdout } = await done('lists', control.command('list-agents', '--json'));
    const record = agentsIn(stdout).find(({ name }) => name === own);
    if (record?.hostname !== host) problems.push(`${host} was lost: ${record?.hostname}`);
    if (record?.tags['role'] !== own) problems.push(`round ${round}: the tags were lost`);
    await done('pings', control.command('ping', own));
  }
  return { counts, problems };
}

/** Agents that come and go: each pairs, is seen in the list, and is unpaired. */
export async function workAtPairing(control: DispatcherOnDisk, seconds: number): Promise<Work> {
  const { counts, problems, done } = ledger();
  const goOn = deadlineIn(seconds);
  const mode = await control.pairingMode();
  for (let round = 1; round === 1 || goOn(); round += 1) {
    const name = `guest-${round}`;
    const guest = await agentOnDisk(name);
    const request = start(
      'ctrl-exec-agent',
      [
        ...['request-pairing', '--dispatcher', '127.0.0.1', '--port', String(mode.port)],
        ...['--name', name, '--lookup-by', 'ip'],
      ],
      { home: guest.home },
    );
    const id = await request.shows(/Request ([0-9a-f]{8})/).catch((error: unknown) => String(error));
    await done('approvals', control.command('approve', id));
    request.child.stdin?.end('y\n');
    await done('pairings', request.ended);
    const { stdout } = await done('lists', control.command('list-agents', '--json'));
    if (!agentsIn(stdout).some((record) => record.name === name))
      problems.push(`${name} is not in the list after it has paired`);
    await done('unpairings', control.command('unpair', name));
  }
  const ended = await mode.process.stop();
  if (ended.code !== 0) problems.push(`pairing-mode: exit ${ended.code}: ${ended.stderr}`);
  problems.push(
    ...ended.stderr.split('\n').filter((line) => /BUSY|locked|store_failed|internal/i.test(line)),
  );
  return { counts, problems };
}

/** A program of somebody's own that opens the dispatcher by the library. */
export async function workByTheLibrary(
  control: DispatcherOnDisk,
  own: string,
  all: readonly string[],
  seconds: number,
): Promise<Work> {
  const program = fileURLToPath(new URL('script.mjs', import.meta.url));
  const library = new URL('../../../dist/library/index.js', import.meta.url).href;
  const args = [program, library, control.home, own, all.join(','), String(seconds)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const [stdout, stderr, [code]] = await Promise.all([
    text(child.stdout),
    text(child.stderr),
    once(child, 'close') as Promise<[number | null]>,
  ]);
  if (code !== 0) return { counts: {}, problems: [`the script ended with ${code}: ${stderr}`] };
  const work = JSON.parse(stdout) as Work;
  return { ...work, problems: [...work.problems, ...(stderr === '' ? [] : [stderr])] };
}

/** An agent with a tag that is its name and a script that counts its runs, paired and serving. */
export async function countingAgent(
  control: DispatcherOnDisk,
  name: string,
): Promise<{ readonly agent: AgentOnDisk; readonly record: string }> {
  const agent = await control.pairAgent(name, `[tags]\nrole = ${name}\n`);
  const record = `${agent.home}/runs`;
  agent.script('count', `#!/bin/sh\necho run >> ${record}\n`);
  await agent.serve();
  return { agent, record };
}
