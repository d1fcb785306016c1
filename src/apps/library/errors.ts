export { type CtrlExecError, type ErrorCode, failure } from '../../domain/errors.js';
