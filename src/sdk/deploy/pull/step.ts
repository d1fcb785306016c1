import type { CtrlExecError } from '../../../domain/core/errors.js';
import { printable } from '../../../domain/core/names.js';

/** Why a job failed: the step, and what went wrong there. */
export interface StepFailure {
  readonly step: string;
  readonly error: CtrlExecError | { readonly code: 'refused_here'; readonly message: string };
}

export const inStep =
  (step: string) =>
  (error: CtrlExecError): StepFailure => ({ step, error });

/** A step that found fault with the job itself. */
export const refusedIn =
  (step: string) =>
  (message: string): StepFailure => ({ step, error: { code: 'refused_here', message } });

const maxReason = 1000;

/** One line, as the control plane and the log are told it. */
export const reasonOf = ({ step, error }: StepFailure): string =>
  printable(`${step}: ${error.message}`, maxReason);
