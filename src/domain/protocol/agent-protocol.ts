import { type CtrlExecError, failure } from '../core/errors.js';

/** Bytes of body that an agent accepts (wire-protocol 1.1). */
export const maxRequestBody = 1024 * 1024;

/** Bytes of body that it accepts of a trusted dispatcher where the body may hold a revocation list (wire-protocol 2.4). */
export const maxListBody = 8 * 1024 * 1024;

/** Standard TCP port of agents. */
export const agentPort = 7443;

/** The answer of an agent did not come in time: in the words of deployed dispatchers, which scripts look for. */
export const readTimeout = (timeoutMs: number): CtrlExecError<'timed_out'> =>
  failure('timed_out', `read timeout after ${timeoutMs / 1000}s`, { phase: 'answer', timeoutMs });
