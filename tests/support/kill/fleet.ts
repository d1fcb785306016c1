import { cpSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type CommandOptions,
  type Ended,
  openPairing,
  requestPairing,
  run,
  type Started,
  start,
} from '../commands/commands.js';
import { lookAtAgent } from './looks.js';

/** A command of the dispatcher in `home`. */
export const control = (home: string, ...args: string[]): Promise<Ended> => run('ctrl-exec', args, { home });

/** A command of the agent in `home`. */
export const agent = (home: string, ...args: string[]): Promise<Ended> =>
  run('ctrl-exec-agent', args, { home });

/** The outcome of a command that must succeed. */
export async function succeeds(command: Promise<Ended>): Promise<Ended> {
  const ended = await command;
  if (ended.code !== 0) throw new Error(`exit ${ended.code ?? ended.signal}: ${ended.stdout}${ended.stderr}`);
  return ended;
}

/** A refusal: exit 1 and one line that matches. */
export async function refuses(command: Promise<Ended>, reason: RegExp): Promise<void> {
  const { code, stderr, stdout } = await command;
  if (code !== 1 || !reason.test(stderr) || stderr.trim().includes('\n'))
    throw new Error(`expected one line with ${reason} and exit 1, found exit ${code}: ${stdout}${stderr}`);
}

/** One agent in a dispatcher's registry, as `list-agents --json` shows it. */
export interface Row {
  readonly name: string;
  readonly hostname: string;
  readonly ip: string;
  readonly port: number;
  readonly lookup_by: 'hostname' | 'ip';
  readonly keys: readonly { readonly spki_sha256: string; readonly state: 'issued' | 'active' }[];
  readonly tags: Readonly<Record<string, string>>;
}

export async function rowsOf(home: string): Promise<readonly Row[]> {
  const { stdout } = await succeeds(control(home, 'list-agents', '--json'));
  return (JSON.parse(stdout) as { agents: Row[] }).agents;
}

export async function noLocks(home: string): Promise<void> {
  const { stdout } = await succeeds(control(home, 'list-locks', '--json'));
  const { locks } = JSON.parse(stdout) as { locks: unknown[] };
  if (locks.length > 0) throw new Error(`locks are held: ${stdout}`);
}

/** Starts `request-pairing` by the name web-01. Standard input stays open. */
export const requestAsWeb = (
  home: string,
  port: number,
  args: readonly string[] = [],
  options: CommandOptions = {},
): Started => requestPairing({ home, name: 'web-01' }, port, ['--lookup-by', 'ip', ...args], options);

/**
 * The operator approves what is asked, then the agent's people say that the codes match; where the approval fails, they
 * are told and give up. What the operator saw; undefined: nothing was asked.
 */
export async function approveWhenAsked(
  home: string,
  request: Started,
  ...args: string[]
): Promise<Ended | undefined> {
  const id = await request.shows(/Request ([0-9a-f]{8})/).catch(() => undefined);
  if (id === undefined) return undefined;
  const approved = await control(home, 'approve', id, ...args);
  request.child.stdin?.end(approved.code === 0 ? 'y\n' : 'n\n');
  return approved;
}

/** Pairs the agent, with people at both ends, and says whether it is accepted then. */
export async function pairs(
  dispatcherHome: string,
  agentHome: string,
  port: number,
  options: { request?: readonly string[]; approve?: readonly string[] } = {},
): Promise<void> {
  const request = requestAsWeb(agentHome, port, options.request);
  await approveWhenAsked(dispatcherHome, request, ...(options.approve ?? []));
  await succeeds(request.ended);
}

/** Whether the agent in its present state serves and answers to this dispatcher. */
export async function answers(dispatcherHome: string, agentHome: string): Promise<void> {
  const daemon = start('ctrl-exec-agent', ['serve', '--port', '0'], { home: agentHome });
  const port = await daemon.shows(/Serving on .*:(\d+)/);
  await succeeds(control(dispatcherHome, 'ping', 'web-01', '--port', port));
  await daemon.stop();
}

/** Homes from which every round begins with copies. */
export interface Templates {
  /** A dispatcher that has nothing but its configuration. */
  readonly bare: string;
  /** With a CA only. */
  readonly authority: string;
  /** With an identity, too; no agents. */
  readonly dispatcher: string;
  /** The same with another CA. */
  readonly stranger: string;
  /** A dispatcher that has paired with `agent`. */
  readonly paired: string;
  /** An agent that has never paired. */
  readonly unpaired: string;
  readonly agent: string;
}

const configuration = 'pairing_bind = 127.0.0.1\npairing_rate_limit_volume = 1000/60/1\n';

/** Makes the templates below a directory, or finds those that an earlier test has made there. */
export async function templatesIn(directory: string): Promise<Templates> {
  const at = (name: string) => join(directory, name);
  const templates: Templates = {
    bare: at('bare'),
    authority: at('authority'),
    dispatcher: at('dispatcher'),
    stranger: at('stranger'),
    paired: at('paired'),
    unpaired: at('unpaired'),
    agent: at('agent'),
  };
  if (existsSync(at('complete'))) return templates;
  mkdirSync(templates.bare, { recursive: true });
  writeFileSync(join(templates.bare, 'ctrl-exec.conf'), configuration);
  cpSync(templates.bare, templates.authority, { recursive: true });
  await succeeds(control(templates.authority, 'setup-ca'));
  cpSync(templates.authority, templates.dispatcher, { recursive: true });
  await succeeds(control(templates.dispatcher, 'setup-ctrl-exec'));
  cpSync(templates.bare, templates.stranger, { recursive: true });
  await succeeds(control(templates.stranger, 'setup-ca'));
  await succeeds(control(templates.stranger, 'setup-ctrl-exec'));
  cpSync(templates.dispatcher, templates.paired, { recursive: true });

  mkdirSync(join(templates.unpaired, 'state'), { recursive: true, mode: 0o700 });
  writeFileSync(join(templates.unpaired, 'agent.conf'), 'bind = 127.0.0.1\n[tags]\nrole = web\n');
  writeFileSync(join(templates.unpaired, 'scripts.conf'), '');
  cpSync(templates.unpaired, templates.agent, { recursive: true });
  const mode = await openPairing(templates.paired);
  await pairs(templates.paired, templates.agent, mode.port);
  await mode.process.stop();
  if (lookAtAgent(templates.agent) === undefined) throw new Error('the template did not pair');
  writeFileSync(at('complete'), '');
  return templates;
}

/** A copy of a template. */
export function copy(template: string, place: string, name: string): string {
  const home = join(place, name);
  cpSync(template, home, { recursive: true, preserveTimestamps: true });
  return home;
}
