import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import {
  type AgentOnDisk,
  agentOnDisk,
  type DispatcherOnDisk,
  type Ended,
  requestPairing,
  type Started,
} from '../commands/commands.js';

/** What a worker did, and whatever it met that a user must not meet. */
export interface Work {
  readonly counts: Readonly<Record<string, number>>;
  readonly problems: readonly string[];
}

/** What nobody may ever read, wherever it stands: that the store was in use. */
const busy = /SQLITE_|database (table )?is locked|kept it locked|store_failed/i;

/** Lines about a store in use, in what somebody was shown. */
export const busyLines = (text: string): string[] => text.split('\n').filter((line) => busy.test(line));

interface Ledger {
  readonly counts: Record<string, number>;
  readonly problems: string[];
  /** Counts a command that ended with 0 and complained of nothing; anything else is a problem. */
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
      const { code, stdout, stderr } = ended;
      const warned = stderr.split('\n').some((line) => /^(?!ACTION=)(?!.*\[y\/N\] $)./.test(line));
      if (code === 0) counts[what] = (counts[what] ?? 0) + 1;
      if (code !== 0 || warned || busyLines(stdout + stderr).length > 0)
        problems.push(`${what}: exit ${code}: ${stdout}${stderr}`);
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
  readonly ip: string;
  readonly port: number;
  readonly tags: Readonly<Record<string, string>>;
}

const agentsIn = (stdout: string): readonly ListedAgent[] =>
  stdout === '' ? [] : (JSON.parse(stdout) as { agents: ListedAgent[] }).agents;

/** One field of an agent that others edit at the same time: how it is set, and what it is in a round. */
export interface Share {
  readonly agent: string;
  readonly option: '--agent-port' | '--ip';
  readonly field: 'port' | 'ip';
  value(round: number): string | number;
}

/**
 * A person at a terminal: edits its own agent and its field of one that all edit, runs its script, asks all for their
 * tags, looks at the list, pings.
 */
export async function workAtTheCommandLine(
  control: DispatcherOnDisk,
  own: string,
  all: readonly string[],
  share: Share,
  seconds: number,
): Promise<Work> {
  const { counts, problems, done } = ledger();
  const goOn = deadlineIn(seconds);
  for (let round = 1; round === 1 || goOn(); round += 1) {
    const host = `${own}-${round}.example`;
    await done('edits', control.command('edit-agent', own, '--hostname', host));
    const { agent, option, field, value } = share;
    await done('shared edits', control.command('edit-agent', agent, option, String(value(round))));
    await done('runs', control.command('run', own, 'count'));
    await done('discoveries', control.command('discovery', ...all));
    const { stdout } = await done('lists', control.command('list-agents', '--json'));
    const shared = agentsIn(stdout).find(({ name }) => name === agent)?.[field];
    if (shared !== value(round)) problems.push(`${field} ${value(round)} was lost: ${shared}`);
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
    const request = requestPairing(guest, mode.port, ['--lookup-by', 'ip']);
    const id = await request.shows(/Request ([0-9a-f]{8})/).catch((error: unknown) => String(error));
    await done('approvals', control.command('approve', id));
    request.child.stdin?.end('y\n');
    await done('pairings', request.ended);
    const { stdout } = await done('lists', control.command('list-agents', '--json'));
    if (!agentsIn(stdout).some((record) => record.name === name))
      problems.push(`${name} is not in the list after it has paired`);
    await done('unpairings', control.command('unpair', name));
  }
  const { code, stdout, stderr } = await mode.process.stop();
  if (code !== 0) problems.push(`pairing-mode: exit ${code}: ${stderr}`);
  // Nobody here has sent anything that deserves a refusal.
  problems.push(
    ...stderr.split('\n').filter((line) => /^ACTION=(pairing-refused|internal-error)/.test(line)),
  );
  problems.push(...busyLines(stdout + stderr));
  return { counts, problems };
}

/** A program of somebody's own that opens the dispatcher by the library. */
export async function workByTheLibrary(
  control: DispatcherOnDisk,
  own: string,
  all: readonly string[],
  shared: string,
  seconds: number,
): Promise<Work> {
  const program = fileURLToPath(new URL('script.mjs', import.meta.url));
  const library = new URL('../../../dist/library/index.js', import.meta.url).href;
  const args = [program, library, control.home, own, all.join(','), shared, String(seconds)];
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
): Promise<{ readonly agent: AgentOnDisk; readonly record: string; readonly daemon: Started }> {
  const agent = await control.pairAgent(name, `[tags]\nrole = ${name}\n`);
  const record = `${agent.home}/runs`;
  agent.script('count', `#!/bin/sh\necho run >> ${record}\n`);
  return { agent, record, daemon: await agent.serve() };
}
