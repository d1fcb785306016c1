import type { Program } from '../../../ports/process-runner.js';
import { format } from './layout.js';

/** What a watcher is told, on its standard input: it may hold a token. */
export interface WatchOrder {
  /** Of the job. */
  readonly directory: string;
  readonly program: Program;
}

/** What a watcher says once the job is its own. */
export const taken = 'taken\n';

export const encodeOrder = ({ directory, program }: WatchOrder): Uint8Array =>
  Buffer.from(
    JSON.stringify({
      format,
      directory,
      program: { ...program, stdin: Buffer.from(program.stdin).toString('base64') },
    }),
  );

/** Undefined: it was cut off, or is another version's. */
export const decodeOrder = (text: string): WatchOrder | undefined => {
  try {
    const order = JSON.parse(text) as {
      format: number;
      directory: string;
      program: { stdin: string } & Program;
    };
    if (order.format !== format) return undefined;
    const { directory, program } = order;
    return {
      directory,
      program: { ...program, stdin: Buffer.from(program.stdin as unknown as string, 'base64') },
    };
  } catch {
    return undefined;
  }
};
