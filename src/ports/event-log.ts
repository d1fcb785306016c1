import type { LogEvent } from '../domain/core/event.js';

/**
 * Where events go.
 *
 * Contract: `emit` returns at once and never throws; one event is one line (or one record); order is kept; a value
 * cannot forge a second line, whatever it holds.
 */
export interface EventLog {
  /** Takes one event; what cannot be written is lost, never an error of the work that it tells of. */
  emit(event: LogEvent): void;
}
