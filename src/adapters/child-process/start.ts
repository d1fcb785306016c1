import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { err, ok, type Result } from 'neverthrow';
import { drainElsewhere } from './drain.js';
import { inheritedDescriptors, stillInherited } from './inherited-descriptors.js';
import { feed } from './input.js';
import { inputFile } from './input-file.js';
import { withOpenFiles } from './open-files.js';
import { type PipeIdentity, pipeIdentity } from './pipe-holders.js';
import { type Pipe, type PipeSource, pipes } from './pipes.js';
import { refusal, spawnReason } from './refusal.js';

export interface Program {
  readonly path: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** All of standard input. */
  readonly input: Uint8Array;
  /** Milliseconds until the rest of an unread input is dropped, where it has to be written. */
  readonly inputTimeout: number;
  /** `discard`: standard output and error are /dev/null. */
  readonly output: 'capture' | 'discard';
  /** Called before it is started. */
  readonly onPipes?: ((pipes: readonly PipeIdentity[]) => void) | undefined;
}

/** Where the standard streams come from. Where either gives undefined, Node's sockets take its place. */
export interface StreamSource {
  readonly input: (bytes: Uint8Array) => number | undefined;
  readonly outputs: PipeSource;
}

const systemStreams: StreamSource = { input: inputFile, outputs: pipes };

/** A code or the name of a signal, never both. */
type Exit =
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'signalled'; readonly signal: string };

export interface StartedProgram {
  /** Also the number of its session and process group. */
  readonly pid: number;
  /** Empty when the output is discarded. */
  readonly outputs: readonly Readable[];
  /** Of `outputs`; empty where they are no pipes. */
  readonly pipes: readonly PipeIdentity[];
  readonly exit: Promise<Exit>;
  /** Nobody reads the outputs any more. Whoever still holds them can go on writing, also after this process has ended. */
  letGo(): void;
  /** Lets this process end while the program runs. */
  unref(): void;
}

type Descriptor = number | 'pipe' | 'ignore';

/** What hides each of `descriptors` from the child: /dev/null in its place. 'ignore' leaves the others, close-on-exec, alone. */
const masking = (descriptors: readonly number[], blank: number | undefined): Descriptor[] => {
  const highest = Math.max(2, ...descriptors);
  return Array.from({ length: highest - 2 }, (_, index) =>
    blank !== undefined && descriptors.includes(index + 3) ? blank : 'ignore',
  );
};

const outputEnds = (child: ChildProcess, taken: readonly Pipe[] | undefined): Readable[] =>
  taken === undefined
    ? [child.stdout, child.stderr].filter((stream) => stream !== null)
    : taken.map(({ readEnd }) => new Socket({ fd: readEnd, readable: true, writable: false }));

/** More than Node needs to start a process over sockets. */
const socketRoom = 16;

/** Throws EMFILE. A start over sockets that fails for want of descriptors leaves some of them open for ever, in Node itself. */
const requireRoom = (): void => {
  const opened: number[] = [];
  try {
    while (opened.length < socketRoom) opened.push(openSync('/dev/null', 'r'));
  } finally {
    for (const descriptor of opened) closeSync(descriptor);
  }
};

let inherited: readonly number[] | undefined;

const letGo = (output: Readable, readEnd: number | undefined): void => {
  if (output.destroyed) return;
  const hidden = (blank: number) => masking(stillInherited(inherited ?? []), blank);
  if (readEnd !== undefined && drainElsewhere(readEnd, hidden)) return void output.destroy();
  // This process has to do it, for as long as it lives: it must not be kept for that.
  if (output instanceof Socket) output.unref();
  output.resume();
};

/** Starts it as the leader of a session of its own; the error is the reason why that failed. */
export const startProgram = async (
  program: Program,
  streams: StreamSource = systemStreams,
): Promise<Result<StartedProgram, string>> => {
  const { path, args, env, input, inputTimeout, output } = program;
  const refused = refusal(path, args, env);
  if (refused !== undefined) return err(refused);
  const taken = output === 'capture' ? await streams.outputs.take(2) : undefined;
  const otherwise = output === 'capture' ? 'pipe' : 'ignore';
  const identities = (taken ?? []).map(({ readEnd }) => pipeIdentity(readEnd));
  program.onPipes?.(identities);
  let [inputDescriptor, blank]: (number | undefined)[] = [];
  let child: ChildProcess;
  try {
    inherited ??= inheritedDescriptors();
    const leaking = stillInherited(inherited);
    inputDescriptor = streams.input(input);
    blank = leaking.length > 0 ? openSync('/dev/null', 'r+') : undefined;
    const stdio: Descriptor[] = [
      inputDescriptor ?? 'pipe',
      taken?.[0]?.writeEnd ?? otherwise,
      taken?.[1]?.writeEnd ?? otherwise,
      ...masking(leaking, blank),
    ];
    // Node adds its own NODE_V8_COVERAGE to every environment that does not name it.
    const variables = { NODE_V8_COVERAGE: undefined, ...env };
    if (stdio.includes('pipe')) requireRoom();
    const [file, words] = withOpenFiles(path, args);
    child = spawn(file, words, { cwd: '/', env: variables, detached: true, stdio });
  } catch (error) {
    for (const { readEnd } of taken ?? []) closeSync(readEnd);
    return err(spawnReason(path, error));
  } finally {
    for (const descriptor of [inputDescriptor, blank, ...(taken ?? []).map(({ writeEnd }) => writeEnd)])
      if (descriptor !== undefined) closeSync(descriptor);
  }
  const { pid } = child;
  if (pid === undefined) {
    for (const { readEnd } of taken ?? []) closeSync(readEnd);
    return new Promise((resolve) => {
      child.once('error', (error) => resolve(err(spawnReason(path, error))));
    });
  }
  const exit = new Promise<Exit>((resolve) => {
    child.once('exit', (code, signal) =>
      resolve(code === null ? { kind: 'signalled', signal: signal ?? 'unknown' } : { kind: 'exited', code }),
    );
  });
  if (child.stdin !== null) feed(child.stdin, input, inputTimeout, exit);
  const outputs = outputEnds(child, taken);
  for (const stream of outputs) stream.on('error', () => undefined);
  return ok({
    pid,
    outputs,
    pipes: identities,
    exit,
    letGo: () => {
      for (const [index, output] of outputs.entries()) letGo(output, taken?.[index]?.readEnd);
    },
    unref: () => child.unref(),
  });
};
