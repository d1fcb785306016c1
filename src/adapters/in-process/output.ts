import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ActionOutput } from '../../domain/runs/action.js';
import { outputCapture } from '../../domain/runs/output-capture.js';
import type { CapturedStream, OutputSink, OutputStream } from '../../ports/process-runner.js';

/** What an action prints: kept, counted, and handed to whoever follows. */
export interface PrintedOutput {
  readonly stdout: ActionOutput;
  readonly stderr: ActionOutput;
  /**
   * Whatever is written from now on is lost. Resolves with what is kept when the sink has answered for all of it, or is
   * gone; at the latest after its patience.
   */
  end(): Promise<Readonly<Record<OutputStream, CapturedStream>>>;
}

const largestChunk = 64 * 1024;

/** Bytes of a stream that may wait for a sink where the action does not wait for its own writes. */
const mostWaiting = 4 * 1024 * 1024;

const encoder = new TextEncoder();

/** The output's own copy. */
const bytesOf = (content: string | Uint8Array): Uint8Array =>
  content instanceof Uint8Array ? new Uint8Array(content) : encoder.encode(String(content));

/**
 * @param limit bytes kept of each stream
 * @param patience milliseconds after which a call without an answer says that the reader is gone
 */
export const printedOutput = (
  sink: OutputSink | undefined,
  limit: number,
  patience: number,
): PrintedOutput => {
  let open = true;
  let reader = sink;
  /** What ends the calls that wait. Not a race with one promise for all: that would keep something of each of them. */
  const endings = new Set<() => void>();
  const leave = (): void => {
    reader = undefined;
    for (const each of endings) each();
  };

  const offer = async (stream: OutputStream, chunk: Uint8Array): Promise<void> => {
    const given = reader;
    if (given === undefined) return;
    const timer = setTimeout(leave, patience);
    let giveUp: () => void = () => undefined;
    try {
      const wanted = await new Promise<boolean>((resolve, reject) => {
        giveUp = () => resolve(false);
        endings.add(giveUp);
        given(stream, chunk).then(resolve, reject);
      });
      if (wanted !== true) leave();
    } catch {
      leave();
    } finally {
      endings.delete(giveUp);
      clearTimeout(timer);
    }
  };

  const printer = (stream: OutputStream) => {
    const capture = outputCapture(limit);
    let last: Promise<void> = Promise.resolve();
    let waiting = 0;

    const deliver = async (bytes: Uint8Array): Promise<void> => {
      for (let at = 0; reader !== undefined && at < bytes.length; at += largestChunk)
        await offer(stream, bytes.slice(at, at + largestChunk));
      waiting -= bytes.length;
    };

    const print = async (content: string | Uint8Array): Promise<void> => {
      if (!open) return;
      const bytes = bytesOf(content);
      capture.add(bytes);
      if (reader === undefined) return;
      if (waiting > mostWaiting) leave();
      waiting += bytes.length;
      const delivered = last.then(() => deliver(bytes));
      last = delivered;
      await delivered;
    };

    const write: ActionOutput['write'] = async (content) => {
      await print(content);
      // One that writes for ever, and waits for each write, must not keep this process from everything else.
      await nextTurn();
    };
    return { capture, write, last: () => last };
  };

  const [stdout, stderr] = [printer('stdout'), printer('stderr')];
  return {
    stdout: { write: stdout.write },
    stderr: { write: stderr.write },
    async end() {
      open = false;
      const timer = setTimeout(leave, patience);
      await Promise.all([stdout.last(), stderr.last()]);
      clearTimeout(timer);
      leave();
      return { stdout: stdout.capture.result(), stderr: stderr.capture.result() };
    },
  };
};
