import type { CtrlExecError } from '../../domain/core/errors.js';
import type { ExitCode } from '../command-line.js';
import { refuse } from './failure.js';

export interface Printing {
  readonly json?: boolean;
}

/** Prints an answer, as one JSON object or as lines. */
export const print = (options: Printing, json: object, lines: readonly string[]): void => {
  process.stdout.write(options.json ? `${JSON.stringify({ ok: 1, ...json })}\n` : `${lines.join('\n')}\n`);
};

/** Says why there is no answer, with `json` on standard output, too. */
export const refused =
  (options: Printing) =>
  (error: CtrlExecError): ExitCode =>
    refuse(error, options.json ?? false);
