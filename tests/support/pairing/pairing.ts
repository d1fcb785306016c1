import { cpSync, existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import {
  type AgentOnDisk,
  agentOnDisk,
  dispatcherOnDisk,
  type Ended,
  requestPairing,
  run,
  type Started,
  start,
  temporaryDirectory,
} from '../commands/commands.js';
import { postTo } from './peer.js';

interface PairingMode {
  readonly port: number;
  readonly process: Started;
}

/** A dispatcher whose pairing is looked at. */
export interface PairingDispatcher {
  readonly home: string;
  command(...args: string[]): Promise<Ended>;
  /** Opens pairing mode off a terminal, on a port that the system chooses unless told. */
  open(port?: number): Promise<PairingMode>;
  /** `list-requests --json`. */
  requests(): Promise<readonly ListedRequest[]>;
  /** `list-agents --json`. */
  agents(): Promise<readonly ListedAgent[]>;
}

interface ListedRequest {
  readonly id: string;
  readonly host: string;
  readonly ip: string;
  readonly port: number;
  readonly code: string | null;
  readonly state: string;
}

interface ListedAgent {
  readonly name: string;
  readonly hostname: string;
  readonly ip: string;
  readonly port: number;
  readonly lookup_by: string;
  readonly keys: readonly { readonly state: string; readonly serial: string; readonly spki_sha256: string }[];
}

/** So many that tests are not slowed; what limits hold is tested by itself. */
const unlimited = 'pairing_rate_limit_volume = 1000/60/300\n';

/** A CA and an identity, once for a file. */
export const dispatcherIdentity = async (): Promise<string> => (await dispatcherOnDisk(unlimited)).home;

/** A dispatcher with this CA and identity, and an empty store of its own. */
export function dispatcherWith(identity: string): PairingDispatcher {
  const home = join(temporaryDirectory(), 'dispatcher');
  cpSync(identity, home, { recursive: true });
  const command = (...args: string[]) => run('ctrl-exec', args, { home });
  const json = async (...args: string[]) => {
    const { code, stdout, stderr } = await command(...args, '--json');
    if (code !== 0) throw new Error(`${args.join(' ')}: ${stderr}`);
    return JSON.parse(stdout);
  };
  return {
    home,
    command,
    async open(port = 0) {
      const process = start('ctrl-exec', ['pairing-mode', '--port', String(port)], { home });
      return { process, port: Number(await process.shows(/Pairing mode on .*:(\d+)/)) };
    },
    requests: async () => (await json('list-requests')).requests,
    agents: async () => (await json('list-agents')).agents,
  };
}

export interface Asking extends Started {
  readonly agent: AgentOnDisk;
  /** Of the session, its first eight digits. */
  readonly id: string;
  readonly code: string;
  /** Answers the question whether the codes match. */
  answer(line: string): void;
}

/** As `requestPairing`, and waits until the code is shown. */
export async function ask(
  agent: AgentOnDisk | string,
  port: number,
  more: readonly string[] = [],
): Promise<Asking> {
  const asking = typeof agent === 'string' ? await agentOnDisk(agent) : agent;
  const started = requestPairing(asking, port, more);
  const code = await started.shows(/Pairing code: [0-9a-f]{8}-(\d{6})/);
  const id = await started.shows(/Request ([0-9a-f]{8})/);
  return {
    ...started,
    agent: asking,
    id,
    code,
    answer: (line) => void started.child.stdin?.write(`${line}\n`),
  };
}

export const identityFiles = ['agent.key', 'agent.crt', 'ca.crt', 'state/ctrl-exec-dispatchers'] as const;

/** What an agent has of its identity; undefined for a file that is not there. */
export const identityOf = ({ home }: Pick<AgentOnDisk, 'home'>): readonly (string | undefined)[] =>
  identityFiles.map((name) => {
    const path = join(home, name);
    return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
  });

export const expectNothingInstalled = (agent: Pick<AgentOnDisk, 'home'>): void =>
  expect(identityOf(agent)).toEqual(identityFiles.map(() => undefined));

/** A dispatcher in pairing mode, and what reaches it. */
export async function inPairingMode(identity: string) {
  const control = dispatcherWith(identity);
  const mode = await control.open();
  return { control, mode, port: mode.port, post: postTo(mode.port) };
}

/** Pairs as two people would; `args` for the agent, `approval` for the operator. */
export async function pairedBy(
  control: PairingDispatcher,
  port: number,
  agent: AgentOnDisk | string,
  args: readonly string[] = [],
  approval: readonly string[] = [],
) {
  const asking = await ask(agent, port, args);
  const approved = await control.command('approve', asking.id, '--code', asking.code, ...approval);
  asking.answer('y');
  return { agent: asking.agent, approved, ended: await asking.ended };
}

/** The CA of a dispatcher, PEM. */
export const caOf = ({ home }: { readonly home: string }): string =>
  readFileSync(join(home, 'ca.crt'), 'utf8');

/** Permissions, in octal. */
export const modeOf = (path: string): string => (statSync(path).mode & 0o777).toString(8);
