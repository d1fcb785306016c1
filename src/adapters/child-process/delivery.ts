import type { OutputSink, OutputStream } from '../../ports/process-runner.js';
import { later } from './timer.js';

/** Output on its way to a sink that may be slow, or gone. */
export interface Delivery {
  /** Resolves when more may be read of that stream; undefined: at once. */
  give(stream: OutputStream, chunk: Uint8Array): Promise<void> | undefined;
  /** Resolves when no call waits for its answer. */
  idle(): Promise<void>;
  /** Resolves at the next call. */
  busy(): Promise<void>;
  /** No sink is called, or waited for, any more. */
  end(): void;
}

const never = new Promise<void>(() => undefined);

const nobody: Delivery = {
  give: () => undefined,
  idle: () => Promise.resolve(),
  busy: () => never,
  end: () => undefined,
};

/** `patience`: milliseconds after which a call without an answer says that the reader is gone. */
export const delivery = (sink: OutputSink | undefined, patience: number): Delivery => {
  if (sink === undefined) return nobody;
  const open = new Set<Promise<void>>();
  /** The latest call of each stream. A socket that was paused may give a chunk that it had read before. */
  const latest: Partial<Record<OutputStream, Promise<void>>> = {};
  /** What ends the calls that wait. Not a race with one promise for all: that would keep something of each of them. */
  const endings = new Set<() => void>();
  let gone = false;
  let announce: () => void = () => undefined;
  let next = never;

  const end = (): void => {
    gone = true;
    for (const each of endings) each();
  };

  const offer = async (stream: OutputStream, chunk: Uint8Array): Promise<void> => {
    const cancel = later(patience, end);
    let give: () => void = () => undefined;
    try {
      const wanted = await new Promise<boolean>((resolve, reject) => {
        give = () => resolve(false);
        endings.add(give);
        // What the pipe gives is the receiver's to keep; what is captured must not change with it.
        sink(stream, chunk.slice()).then(resolve, reject);
      });
      if (wanted !== true) end();
    } catch {
      end();
    } finally {
      endings.delete(give);
      cancel();
    }
  };

  return {
    give(stream, chunk) {
      if (gone) return undefined;
      const before = latest[stream];
      const offered = before
        ? before.then(() => (gone ? undefined : offer(stream, chunk)))
        : offer(stream, chunk);
      const call: Promise<void> = offered.finally(() => {
        open.delete(call);
        if (latest[stream] === call) delete latest[stream];
      });
      latest[stream] = call;
      open.add(call);
      announce();
      return call;
    },
    async idle() {
      while (open.size > 0) await Promise.all(open);
    },
    busy() {
      if (open.size > 0) return Promise.resolve();
      next = new Promise((resolve) => {
        announce = resolve;
      });
      return next;
    },
    end,
  };
};
