/**
 * Doubles for the tests of a program that embeds a dispatcher or an agent: no socket, no file and no test runner. What is real:
 * dispatcher, agents, keys, certificates and signatures. `memoryFleet` is where to begin. The contract suites are in
 * `ctrl-exec/testing/contracts`.
 * @module
 */
import { type ManualClock, manualClock as standingClock } from '../../adapters/memory/clock.js';

export { memoryAuthHook } from '../../adapters/memory/auth-hook.js';
export type { ManualClock } from '../../adapters/memory/clock.js';
export { memoryEventLog } from '../../adapters/memory/event-log.js';
export type { Actions } from '../../domain/runs/action.js';
export type { HookContext, HookOutcome } from '../../domain/runs/auth-hook.js';
export type { AuthHook } from '../../ports/auth-hook.js';
export type { Clock } from '../../ports/clock.js';
export type { EventLog } from '../../ports/event-log.js';
export type { AgentPorts, DispatcherPorts } from '../../sdk/core/ports.js';
export type { Dispatcher } from '../../sdk/dispatcher/dispatcher.js';
export * from './errors.js';
export { type MemoryAgent, type MemoryFleet, type MemoryFleetOptions, memoryFleet } from './testing/fleet.js';
export { type MemoryPorts, type MemoryPortsOptions, memoryPorts } from './testing/ports.js';

/** A clock that stands still until it is advanced. @param start default: 1970 */
export const manualClock = (start: Date = new Date(0)): ManualClock => standingClock(start.getTime());
