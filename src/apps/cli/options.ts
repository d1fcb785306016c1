import { userInfo } from 'node:os';
import type { Asking } from '../../sdk/dispatcher/ask.js';

/** Options of the commands that ask agents. */
export interface AskOptions {
  readonly json?: boolean;
  readonly port?: number;
  readonly username?: string;
  readonly token?: string;
}

/** Who asks: as the options say, else as the environment does. */
export function asking(options: AskOptions): Asking {
  const { port } = options;
  return {
    caller: {
      username: options.username ?? process.env['USER'] ?? userInfo().username,
      token: options.token ?? process.env['ENVEXEC_TOKEN'] ?? '',
    },
    ...(port !== undefined && { port }),
  };
}
