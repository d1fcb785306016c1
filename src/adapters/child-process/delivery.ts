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
  let endAll: () => void = () => undefined;
  const ended = new Promise<void>((resolve) => {
    endAll = resolve;
  });
  let gone = false;
  let announce: () => void = () => undefined;
  let next = never;

  const end = (): void => {
    gone = true;
    endAll();
  };

  const offer = async (stream: OutputStream, chunk: Uint8Array): Promise<void> => {
    const cancel = later(patience, end);
    try {
      // What the pipe gives is the receiver's to keep; what is captured must not change with it.
      const wanted = await Promise.race([sink(stream, chunk.slice()), ended]);
      if (wanted !== true) end();
    } catch {
      end();
    } finally {
      cancel();
    }
  };

  return {
    give(stream, chunk) {
      if (gone) return undefined;
      const call: Promise<void> = offer(stream, chunk).finally(() => open.delete(call));
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
