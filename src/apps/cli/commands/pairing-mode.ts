import { createInterface } from 'node:readline';
import type { PairingRequest } from '../../../domain/pairing-request.js';
import type { Dispatcher } from '../../../sdk/dispatcher.js';
import { complain, type ExitCode, exitCodes, report, say, untilStopped } from '../../command-line.js';

interface PairingModeCommand {
  readonly port?: number;
  readonly timeout?: number;
}

/** Opens the pairing port until it is told to stop; on a terminal people decide here, else with `approve` and `deny`. */
export async function pairingMode(dispatcher: Dispatcher, options: PairingModeCommand): Promise<ExitCode> {
  const desk = process.stdin.isTTY ? pairingDesk(dispatcher) : undefined;
  const opened = await dispatcher.openPairing({
    ...(options.port !== undefined && { port: options.port }),
    onChange: (request) => desk?.changed(request),
  });
  if (opened.isErr()) return report(opened.error);
  const mode = opened.value;
  say(`Pairing mode on ${mode.bind}:${mode.port}${options.timeout ? ` for ${options.timeout} s` : ''}`);
  if (desk) say('a approve, d deny, s skip, a1/d2 by number, list, quit');
  desk?.prompt();
  const timer = options.timeout
    ? new Promise<void>((resolve) => setTimeout(resolve, (options.timeout ?? 0) * 1000).unref())
    : undefined;
  const ends = [desk?.ended, timer].filter((end) => end !== undefined);
  const keepAlive = setInterval(() => undefined, 2 ** 30);
  await untilStopped(ends.length > 0 ? Promise.race(ends) : undefined);
  clearInterval(keepAlive);
  desk?.close();
  return mode.close().match(() => {
    say('Pairing mode closed');
    return exitCodes.ok;
  }, report);
}

/** Where the operator decides. `a` and `d` mean the request that is shown, whatever arrives meanwhile. */
function pairingDesk(dispatcher: Dispatcher) {
  const lines = createInterface({ input: process.stdin, output: process.stdout, prompt: 'pairing> ' });
  const waiting = new Map<string, PairingRequest>();
  let shown: string | undefined;
  const ended = new Promise<void>((resolve) => lines.once('close', resolve));

  const list = () => [...waiting.values()];
  const show = (request: PairingRequest) => {
    shown = request.id;
    say(`\nRequest ${request.id.slice(0, 8)} (${list().indexOf(request) + 1} of ${waiting.size})`);
    say(`  host     ${request.host}`);
    say(`  address  ${request.ip}`);
    say(`  code     ${request.code ?? 'not known yet'}`);
    say('Approve only if the agent shows the same code: [a]pprove, [d]eny, [s]kip');
  };
  const showNext = () => {
    const [first] = list();
    shown = undefined;
    if (first) show(first);
  };

  const changed = (request: PairingRequest) => {
    const short = request.id.slice(0, 8);
    if (request.state === 'open' && !request.decision) {
      waiting.set(request.id, request);
      if (shown === undefined) show(request);
      else say(`\nRequest ${short} of ${request.host} is waiting too (list shows all)`);
    } else {
      const known = waiting.delete(request.id);
      if (request.state === 'active') say(`\nPaired: ${nameOf(request)}`);
      else if (request.state === 'expired' && known) say(`\nRequest ${short} has expired`);
      if (shown === request.id) showNext();
    }
    lines.prompt();
  };

  const decide = async (verb: 'a' | 'd', id: string | undefined) => {
    if (id === undefined) return complain('no such request');
    const outcome = verb === 'a' ? await dispatcher.approve({ id }) : await dispatcher.deny(id);
    if (outcome.isErr()) return complain(outcome.error.message);
    waiting.delete(id);
    say(
      verb === 'a' ? `Approved ${id.slice(0, 8)}: waiting for the agent's side` : `Denied ${id.slice(0, 8)}`,
    );
    if (shown === id) showNext();
  };

  const skip = () => {
    const request = shown === undefined ? undefined : waiting.get(shown);
    if (!request) return complain('no request is shown');
    waiting.delete(request.id);
    waiting.set(request.id, request);
    showNext();
  };

  const obey = async (line: string): Promise<void> => {
    const [, verb, number] = /^([ad])(\d*)$/.exec(line) ?? [];
    if (verb === 'a' || verb === 'd') return decide(verb, number ? list()[Number(number) - 1]?.id : shown);
    if (line === 's') return skip();
    if (line === 'list') {
      if (waiting.size === 0) say('no request is waiting');
      for (const [index, request] of list().entries())
        say(
          `${index + 1}  ${request.id.slice(0, 8)}  ${request.host}  ${request.ip}  ${request.code ?? '-'}`,
        );
    } else if (line === 'quit' || line === 'q') lines.close();
    else if (line !== '') complain('a approve, d deny, s skip, a1/d2 by number, list, quit');
  };

  let last: Promise<void> = Promise.resolve();
  lines.on('line', (line) => {
    // Once closed, a prompt would begin to read again, and the process would not end.
    last = last.then(() => obey(line.trim())).then(() => void (process.stdin.isPaused() || lines.prompt()));
  });
  lines.on('SIGINT', () => lines.close());

  return { changed, ended, prompt: () => lines.prompt(), close: () => lines.close() };
}

const nameOf = (request: PairingRequest): string =>
  request.decision?.verdict === 'approve' ? request.decision.name : request.host;
