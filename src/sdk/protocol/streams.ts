import type { JsonObject } from '../../domain/core/decode.js';
import type { HttpAnswer } from '../../domain/protocol/http-message.js';
import {
  endLine,
  idleInterval,
  idleLine,
  outputLines,
  streamType,
} from '../../domain/protocol/output-stream.js';
import { outputIn } from '../../domain/protocol/run-messages.js';
import type { Clock } from '../../ports/clock.js';
import type { Crypto } from '../../ports/crypto.js';
import type { IncomingRequest } from '../../ports/listener.js';
import type { OutputSink } from '../../ports/process-runner.js';
import { type Signer, signStreamEnd } from './message-signing.js';

/** Bytes of lines that wait to be sent, from which on the program waits, too. */
const highWater = 256 * 1024;

/** Bytes that wait at most, for a reader so slow that a program would wait for it longer than the runner has patience. */
const mostWaiting = 4 * 1024 * 1024;

/** Milliseconds that a program waits for its reader: less than the runner has patience. Who took nothing meanwhile is left. */
const readerPatience = 25_000;

/** An answer that goes out while what it tells of goes on, and its end (wire-protocol 2.5). */
export interface StreamedAnswer {
  readonly answer: HttpAnswer;
  readonly sink: OutputSink;
  /**
   * Sends the last line, where all the output in `result` was sent before it; else the stream ends without one, and nothing of it
   * counts. Resolves when everything was taken, or nobody takes it any more.
   */
  end(result: JsonObject): Promise<void>;
  /** Ends the stream without its last line. */
  breakOff(): void;
}

const over = { done: true, value: undefined } as const;

/**
 * A stream of lines, of which about `highWater` bytes wait, and never more than `mostWaiting` and a piece of each stream; the
 * reader's pace is the program's.
 * @param unfollowed called at most once, when the reader goes away, or is too slow, before the end
 */
export function streamedAnswer(
  { clock, crypto }: { readonly clock: Clock; readonly crypto: Crypto },
  signer: Signer,
  request: IncomingRequest,
  unfollowed: () => void,
): StreamedAnswer {
  const digest = crypto.runningSha256();
  const waiting: Uint8Array[] = [];
  const given = { stdout: 0, stderr: 0 };
  let size = 0;
  /** Lines. */
  let taken = 0;
  /** `open`: lines may come. `closing`: those that wait are the last. `left`: nobody reads. */
  let state: 'open' | 'closing' | 'left' = 'open';
  let pull: (() => void) | undefined;
  let cancelIdle = () => {};
  let settle = () => {};
  const settled = new Promise<void>((resolve) => {
    settle = resolve;
  });
  /** Calls of the sink that wait for room. */
  const blocked = new Set<() => void>();

  const wake = () => {
    pull?.();
    pull = undefined;
    if (size < highWater || state !== 'open') for (const go of blocked) go();
    if (state === 'left' || (state === 'closing' && waiting.length === 0)) settle();
  };

  const add = (line: Uint8Array) => {
    waiting.push(line);
    size += line.length;
    cancelIdle();
    cancelIdle = clock.after(idleInterval, idle);
    wake();
  };

  const addHashed = (line: Uint8Array) => {
    digest.update(line);
    add(line);
  };

  function idle(): void {
    if (state !== 'open') return;
    // Whoever has not taken what is there need not be told that there is nothing.
    if (waiting.length === 0) addHashed(idleLine());
    else cancelIdle = clock.after(idleInterval, idle);
  }

  const close = () => {
    state = 'closing';
    cancelIdle();
    wake();
  };

  /** Nobody reads any more, or so slowly that it is no use. */
  const leave = (now: 'closing' | 'left') => {
    const early = state === 'open';
    state = now;
    cancelIdle();
    if (now === 'left') waiting.length = 0;
    wake();
    if (early) unfollowed();
  };

  const room = () =>
    new Promise<boolean>((resolve) => {
      if (/* defence: program-waits-for-reader */ size < highWater || state !== 'open')
        return resolve(state === 'open');
      const go = () => {
        cancel();
        blocked.delete(go);
        resolve(state === 'open');
      };
      const before = taken;
      const cancel = clock.after(readerPatience, () => {
        if (taken > before && size < mostWaiting) go();
        else leave('closing');
      });
      blocked.add(go);
      return undefined;
    });

  cancelIdle = clock.after(idleInterval, idle);
  return {
    answer: {
      status: 200,
      headers: [['content-type', streamType]],
      body: new Uint8Array(),
      stream: {
        [Symbol.asyncIterator]: () => ({
          async next() {
            while (waiting.length === 0 && state === 'open')
              await new Promise<void>((resolve) => {
                pull = resolve;
              });
            const line = waiting.shift();
            if (line === undefined) return over;
            size -= line.length;
            taken += 1;
            wake();
            return { done: false, value: line };
          },
          async return() {
            leave('left');
            return over;
          },
        }),
      },
    },
    async sink(stream, chunk) {
      if (state !== 'open') return false;
      given[stream] += chunk.length;
      for (const line of outputLines(stream, chunk)) addHashed(line);
      return room();
    },
    async end(result) {
      const { stdout, stderr } = outputIn(result)?.totals ?? { stdout: 0, stderr: 0 };
      const whole = given.stdout === stdout && given.stderr === stderr;
      if (state === 'open' && whole) {
        const end = { result, linesSha256: digest.digest() };
        add(endLine(signStreamEnd(crypto, signer, end, request, clock.now())));
        close();
      } else if (state === 'open') leave('closing');
      await settled;
    },
    breakOff: close,
  };
}
