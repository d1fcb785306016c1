/**
 * Errors as values: one closed union that every method of the package answers with, and `failure` to make one in
 * an adapter.
 * @module
 */

export {
  type CtrlExecError,
  type ErrorCode,
  type ErrorFields,
  failure,
  type Lock,
  type Verification,
} from '../../domain/core/errors.js';
