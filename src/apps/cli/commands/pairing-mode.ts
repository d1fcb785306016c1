import { createInterface } from 'node:readline';
import { compared, isGivenUp, type PairingRequest } from '../../../domain/pairing/request.js';
import { needsAPerson } from '../../../domain/pairing/request-state.js';
import type { Dispatcher } from '../../../sdk/dispatcher/dispatcher.js';
import { complain, type ExitCode, exitCodes, report, say, untilStopped } from '../../command-line.js';
import { forgeable, undecided } from './requests.js';

export interface PairingModeCommand {
  readonly port?: number;
  readonly timeout?: number;
  readonly allowV1?: boolean;
}

/**
 * Opens the pairing port until it is told to stop; on a terminal people decide here, else with `approve` and `deny`.
 * Exit 1 when three wrong codes have closed what people compare.
 */
export async function pairingMode(dispatcher: Dispatcher, options: PairingModeCommand): Promise<ExitCode> {
  const desk = process.stdin.isTTY ? pairingDesk(dispatcher) : undefined;
  const opened = await dispatcher.openPairing({
    ...(options.port !== undefined && { port: options.port }),
    ...(options.allowV1 !== undefined && { allowV1: options.allowV1 }),
    onChange: (request) => desk?.changed(request),
  });
  if (opened.isErr()) {
    desk?.close();
    return report(opened.error);
  }
  const mode = opened.value;
  say(`Pairing mode on ${mode.bind}:${mode.port}${options.timeout ? ` for ${options.timeout} s` : ''}`);
  if (mode.allowV1) say(`Version 1 is served, too. ${forgeable}`);
  if (desk) say('a approve, d deny, s skip, a1/d2 by number, list, quit');
  desk?.prompt();
  const timer = options.timeout
    ? new Promise<void>((resolve) => setTimeout(resolve, (options.timeout ?? 0) * 1000).unref())
    : undefined;
  let code: ExitCode = exitCodes.ok;
  void mode.comparingClosed.then(() => {
    code = exitCodes.failed;
    complain(
      'three wrong codes: somebody is trying. Codes are compared no more until pairing mode is started again; join tokens go on',
    );
  });
  const ends = [desk?.ended, timer].filter((end) => end !== undefined);
  const keepAlive = setInterval(() => undefined, 2 ** 30);
  await untilStopped(Promise.race(ends), true);
  clearInterval(keepAlive);
  desk?.close();
  return mode.close().match(() => {
    say('Pairing mode closed');
    return code;
  }, report);
}

/**
 * Where the operator decides. `a` and `d` mean the request that is shown; what takes its place by itself has to be named
 * by its number, which it keeps.
 */
function pairingDesk(dispatcher: Dispatcher) {
  const lines = createInterface({ input: process.stdin, output: process.stdout, prompt: 'pairing> ' });
  const waiting = new Map<number, PairingRequest>();
  /** Those that hold a place although nobody can approve them any more. */
  const givenUp = new Map<number, PairingRequest>();
  /** Those of version 1 that were approved here and are not known to have got their certificate. */
  const approved = new Set<string>();
  let numbers = 0;
  let shown: number | undefined;
  const ended = new Promise<void>((resolve) => lines.once('close', resolve));

  const numberOf = (id: string) => [...waiting].find(([, request]) => request.id === id)?.[0];
  const show = (number: number, request: PairingRequest) => {
    shown = number;
    say(`\nRequest ${request.id.slice(0, 8)} (number ${number})`);
    say(`  host     ${request.host}`);
    say(`  address  ${request.ip}`);
    if (request.statedIp !== undefined)
      say(
        `  it says  ${request.statedIp}; ${request.ip} is registered, unless you approve by: ctrl-exec approve ${request.id.slice(0, 8)} --ip ADDRESS`,
      );
    say(`  code     ${compared(request) ?? 'not known yet'}`);
    if (request.version === 'v1') say(`  version  1. ${forgeable}`);
    say('Approve only if the agent shows the same request and code: [a]pprove, [d]eny, [s]kip');
  };
  const list = () => {
    if (waiting.size === 0) say('no request is waiting');
    for (const [number, request] of waiting) {
      const { id, host, ip, version } = request;
      const legacy = version === 'v1' ? '  version 1' : '';
      say(`${number}  ${id.slice(0, 8)}  ${host}  ${ip}  ${compared(request) ?? '-'}${legacy}`);
    }
    for (const [number, request] of givenUp)
      if (isGivenUp(request, Date.now()))
        say(`${number}  ${request.id.slice(0, 8)}  ${request.host}  given up`);
  };
  /** After a decision of the operator's own: the one that waits longest after `number`, else from the start. */
  const showNext = (number: number) => {
    shown = undefined;
    const next = [...waiting].find(([each]) => each > number) ?? [...waiting][0];
    if (next) show(...next);
  };

  const changed = (request: PairingRequest) => {
    const short = request.id.slice(0, 8);
    const known = numberOf(request.id);
    if (needsAPerson(request)) {
      if (known !== undefined) return;
      numbers += 1;
      waiting.set(numbers, request);
      if (waiting.size === 1) show(numbers, request);
      else say(`\nRequest ${short} of ${request.host} is waiting too, number ${numbers} (list shows all)`);
    } else {
      if (known !== undefined) waiting.delete(known);
      const awaited = approved.delete(request.id);
      if (request.state === 'active') say(`\nPaired: ${nameOf(request)}`);
      else if (awaited && request.state === 'issued')
        say(`\n${nameOf(request)} has its certificate: the first contact shows whether it took it`);
      else if (awaited)
        say(`\nRequest ${short} was approved and is ${request.state} all the same: see the log`);
      else if (known !== undefined && isGivenUp(request, Date.now())) {
        givenUp.set(known, request);
        say(
          `\nRequest ${short} (number ${known}) was given up. It keeps its place for ten minutes in all: d${known} frees it`,
        );
      } else if (known !== undefined) say(`\nRequest ${short} (number ${known}) is ${request.state}`);
      if (known !== undefined && shown === known) {
        shown = undefined;
        if (waiting.size > 0) list();
      }
    }
    prompt();
  };

  const decide = async (verb: 'a' | 'd', number: number | undefined) => {
    const request =
      number === undefined
        ? undefined
        : (waiting.get(number) ?? (verb === 'd' ? givenUp.get(number) : undefined));
    if (number === undefined || !request)
      return complain('no such request: name one by its number, like a1 or d2');
    const outcome =
      verb === 'a' ? await dispatcher.approve({ id: request.id }) : await dispatcher.deny(request.id);
    if (outcome.isErr()) return complain(undecided(outcome.error));
    const short = request.id.slice(0, 8);
    waiting.delete(number);
    givenUp.delete(number);
    if (verb === 'a' && request.version === 'v1') approved.add(request.id);
    say(verb === 'd' ? `Denied ${short}` : `Approved ${short}: ${whatFollows(request)}`);
    if (shown === number) showNext(number);
  };

  /** `target`: what was shown when the line was typed. */
  const obey = async (line: string, target: number | undefined): Promise<void> => {
    const [, verb, number] = /^([ad])(\d*)$/.exec(line) ?? [];
    if (verb === 'a' || verb === 'd') return decide(verb, number ? Number(number) : target);
    if (line === 's') return shown === undefined ? complain('no request is shown') : showNext(shown);
    if (line === 'list') list();
    else if (line === 'quit' || line === 'q') lines.close();
    else if (line !== '') complain('a approve, d deny, s skip, a1/d2 by number, list, quit');
  };

  let closed = false;
  const prompt = () => {
    // A prompt after the end would start to read again.
    if (!closed) lines.prompt();
  };
  lines.once('close', () => {
    closed = true;
  });
  let last: Promise<void> = Promise.resolve();
  lines.on('line', (line) => {
    const target = shown;
    last = last.then(() => obey(line.trim(), target)).then(prompt);
  });
  lines.on('SIGINT', () => lines.close());

  return { changed, ended, prompt, close: () => lines.close() };
}

const whatFollows = ({ version }: PairingRequest): string =>
  version === 'v1' ? 'its certificate goes out' : "waiting for the agent's side";

const nameOf = (request: PairingRequest): string =>
  request.decision?.verdict === 'approve' ? request.decision.name : request.host;
