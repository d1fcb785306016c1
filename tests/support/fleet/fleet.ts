import { X509Certificate } from 'node:crypto';
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, vi } from 'vitest';
import type { Credentials } from '../../../src/ports/channel.js';
import {
  type AgentOnDisk,
  agentOnDisk,
  type DispatcherOnDisk,
  dispatcherOnDisk,
  type Started,
  shared,
  temporaryDirectory,
} from '../commands/commands.js';
import {
  bytesOf,
  mustVerify,
  parseAnswer,
  requestOf,
  type SigningOptions,
  shownOn,
  signedFor,
} from '../network/raw-http.js';
import { openTls, received } from '../network/raw-tls.js';

/** One host's part of `run --json`. */
export interface JsonResult {
  readonly host: string;
  readonly script: string;
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly rtt: string;
  readonly reqid: string;
  readonly error?: string;
  readonly truncated?: { readonly stdout?: number; readonly stderr?: number };
  readonly reported_hostname?: string;
}

/** Runs a script and gives every host's result. */
export async function runJson(
  control: DispatcherOnDisk,
  hosts: readonly string[],
  script: string,
  args: readonly string[] = [],
  options: readonly string[] = [],
): Promise<readonly JsonResult[]> {
  const ended = await control.command('run', '--json', ...options, ...hosts, script, '--', ...args);
  if (!ended.stdout) throw new Error(`exit ${ended.code}: ${ended.stderr}`);
  return JSON.parse(ended.stdout).results;
}

/** As `runJson`, on one host. */
export async function runOne(
  control: DispatcherOnDisk,
  host: string,
  script: string,
  ...args: readonly string[]
): Promise<JsonResult> {
  const [result] = await runJson(control, [host], script, args);
  if (!result) throw new Error('no result');
  return result;
}

/** An agent with the identity and trust of another one, on a port of its own: what it needs is a configuration of its own. */
export async function twin(paired: AgentOnDisk, conf = ''): Promise<AgentOnDisk> {
  const agent = await agentOnDisk(paired.name, conf);
  const own = new Set(['agent.conf', 'scripts.conf'].map((name) => join(paired.home, name)));
  // The locks of an agent that serves are not those of its copy.
  const filter = (source: string) => !own.has(source) && !source.endsWith('.lock');
  cpSync(paired.home, agent.home, { recursive: true, filter });
  return agent;
}

/** How the dispatcher names an agent by its place. */
export const at = (agent: AgentOnDisk): string => `127.0.0.1:${agent.port}`;

/** Puts another text in place of a configuration. */
export const configure = (agent: AgentOnDisk, conf: string): void =>
  writeFileSync(join(agent.home, 'agent.conf'), `port = ${agent.port}\nbind = 127.0.0.1\n${conf}`);

const credentials = (home: string, name: string): Credentials => ({
  key: readFileSync(join(home, `${name}.key`), 'utf8'),
  certificate: readFileSync(join(home, `${name}.crt`), 'utf8'),
});

export const dispatcherCredentials = ({ home }: { home: string }): Credentials =>
  credentials(home, 'ctrl-exec');
export const agentCredentials = ({ home }: { home: string }): Credentials => credentials(home, 'agent');

/** In lower-case hex, as trust files have it. */
export const serialOf = ({ certificate }: Credentials): string =>
  new X509Certificate(certificate).serialNumber.toLowerCase().replace(/^0+/, '');

export interface RawAnswer {
  /** `HTTP/1.0 200 OK` */
  readonly statusLine: string;
  readonly head: string;
  readonly body: string;
}

/** Everything that an agent sends to some bytes until the connection ends; empty when it says nothing. */
export async function rawExchange(
  port: number,
  who: Credentials | undefined,
  bytes: string,
): Promise<string> {
  const socket = await openTls(port, who);
  const answer = received(socket);
  socket.write(bytes);
  return Buffer.from(await answer, 'latin1').toString('utf8');
}

/**
 * One request in HTTP/1.0, with an exact Content-Length: the connection ends with the answer. Signed by whose connection it
 * is for who answers it, and the answer is verified, unless `options` say otherwise.
 */
export async function rawRequest(
  port: number,
  who: Credentials,
  path: string,
  body?: string,
  options: SigningOptions = {},
): Promise<RawAnswer> {
  const socket = await openTls(port, who);
  const request = signedFor(socket, who, requestOf(path, body), options);
  const shown = shownOn(socket);
  const coming = received(socket);
  socket.write(bytesOf(request, '1.0'));
  const text = await coming;
  mustVerify(parseAnswer(text), request, shown);
  const [head = ''] = text.split('\r\n\r\n', 1);
  const whole = Buffer.from(text.slice(head.length + 4), 'latin1').toString('utf8');
  return { statusLine: head.split('\r\n')[0] ?? '', head, body: whole };
}

/** A script that runs until it is told to end, and can be seen to. It ends by itself when the test does. */
export interface Gate {
  readonly script: string;
  /** Waits until it was started this many times in all. */
  started(times?: number): Promise<void>;
  starts(): number;
  open(): void;
}

export function gate(): Gate {
  const directory = temporaryDirectory();
  const log = join(directory, 'starts');
  const starts = () => (existsSync(log) ? readFileSync(log, 'utf8').length : 0);
  return {
    script: [
      '#!/bin/sh',
      `printf x >> ${log}`,
      `while [ -d ${directory} ] && [ ! -e ${directory}/open ]; do sleep 0.02; done`,
      'echo done',
      '',
    ].join('\n'),
    starts,
    started: (times = 1) => eventually(() => expect(starts()).toBe(times)),
    open: () => writeFileSync(join(directory, 'open'), ''),
  };
}

/** Waits until what is expected holds. */
export const eventually = (check: () => void | Promise<void>): Promise<void> =>
  vi.waitFor(check, { timeout: 10_000, interval: 10 });

/** Sends SIGHUP and waits until the daemon has said `times` times in all how a reload went. */
export async function reload(
  daemon: Started,
  action: 'reloaded' | 'reload-failed',
  times = 1,
): Promise<void> {
  daemon.child.kill('SIGHUP');
  const lines = () => daemon.output('stderr').match(new RegExp(`^ACTION=${action} .*$`, 'gm')) ?? [];
  await eventually(() => expect(lines()).toHaveLength(times));
}

interface PlannedAgent {
  readonly name: string;
  /** Appended to agent.conf. */
  readonly conf?: string;
  readonly scripts?: Readonly<Record<string, string>>;
  /** Default: it is paired and down. */
  readonly serves?: boolean;
}

/** A dispatcher and agents that are paired with it, as the test calls them: `pairedFleet({ web: 'web-01' })`. */
export async function pairedFleet<Key extends string>(
  agents: Readonly<Record<Key, string | PlannedAgent>>,
  conf = '',
): Promise<{ readonly control: DispatcherOnDisk } & Readonly<Record<Key, AgentOnDisk>>> {
  const control = await dispatcherOnDisk(conf);
  const paired: [string, AgentOnDisk][] = [];
  for (const [key, plan] of Object.entries<string | PlannedAgent>(agents)) {
    const planned: PlannedAgent = typeof plan === 'string' ? { name: plan } : plan;
    const agent = await control.pairAgent(planned.name, planned.conf);
    for (const [script, text] of Object.entries(planned.scripts ?? {})) agent.script(script, text);
    if (planned.serves) await agent.serve();
    paired.push([key, agent]);
  }
  return { control, ...(Object.fromEntries(paired) as Record<Key, AgentOnDisk>) };
}

/** A dispatcher and one agent that is paired and never served itself: what a test serves is a twin of it. */
export function pairedHost() {
  const pair = shared(() => pairedFleet({ agent: 'web-01' }));
  const control = () => pair().control;
  let asked = 0;
  return {
    control,
    fresh: (conf = ''): Promise<AgentOnDisk> => twin(pair().agent, conf),
    /** What an agent answers to a run of an id of its own (`r1`, `r2`, …), without the detour through a command. */
    async ask(agent: AgentOnDisk, script: string, args: readonly string[] = [], more: object = {}) {
      asked += 1;
      const body = JSON.stringify({ script, args, reqid: `r${asked}`, ...more });
      return JSON.parse((await rawRequest(agent.port, dispatcherCredentials(control()), '/run', body)).body);
    },
    /** What the command reports about a run. */
    running: (agent: AgentOnDisk, script: string, ...args: string[]): Promise<JsonResult> =>
      runOne(control(), at(agent), script, ...args),
  };
}
