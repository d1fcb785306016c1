/**
 * Errors as values: one closed union that every method of the package answers with, and `failure` to make one in
 * an adapter.
 * @module
 */

export { type CtrlExecError, type ErrorCode, type ErrorFields, failure } from '../../domain/errors.js';
export type { Verification } from '../../domain/verification.js';
