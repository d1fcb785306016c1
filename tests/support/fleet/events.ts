import type { LogEvent } from '../../../src/domain/core/event.js';

type Named<A extends LogEvent['action']> = Extract<LogEvent, { readonly action: A }>;

/** The events of one name, in order, with the fields that they have. */
export const eventsOf = <A extends LogEvent['action']>(
  log: { readonly events: readonly LogEvent[] },
  action: A,
): readonly Named<A>[] => log.events.filter((event): event is Named<A> => event.action === action);
