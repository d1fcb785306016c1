import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import { failure } from '../../../domain/core/errors.js';
import { printable } from '../../../domain/core/names.js';
import { hostError } from '../../../domain/runs/host-ends.js';
import { hostsOf } from '../../../domain/runs/record.js';
import { can } from '../../../domain/trust/abilities.js';
import { parallel } from '../../core/parallel.js';
import { cancel as endpoint } from '../../protocol/endpoints.js';
import type { DispatcherContext } from '../context.js';
import { type Asking, loggedError, type Plan, plan } from '../fleet/ask.js';
import { contact } from '../fleet/contact.js';
import { cancelled } from './following.js';
import { lookUp } from './lookup.js';
import type { StatusFailure } from './status.js';

export interface CancelOptions extends Asking {
  /** Some of the hosts of the run. Default: all. */
  readonly hosts?: readonly string[];
}

/** What became of a request to stop a run on one host. */
export interface Cancelled {
  readonly host: string;
  /** `cancelling`: SIGTERM is sent, 5 s later SIGKILL. `done`: it had ended. `unknown`: the agent has no such run of this dispatcher. */
  readonly status: 'cancelling' | 'done' | 'unknown' | 'error';
  readonly error?: string;
  /** Round trip in whole milliseconds. */
  readonly rtt: number;
}

/** What became of a request to stop a run. */
export interface Cancellation {
  readonly reqid: string;
  readonly script: string;
  /** One per host, in the order of the run. */
  readonly results: readonly Cancelled[];
}

/** Stops a run, of whatever mode and process, on its hosts. The end comes with the run itself, or by `status`. */
export function cancel(
  context: DispatcherContext,
  id: string,
  options: CancelOptions = {},
): ResultAsync<Cancellation, StatusFailure> {
  const { events, settings } = context;
  return safeTry<Cancellation, StatusFailure>(async function* () {
    const { record, question } = yield* lookUp(context, 'cancel', id, options);
    const { reqid, script } = record;
    const asked = new Set<string>();
    const all = hostsOf(record);
    for (const text of options.hosts ?? all) {
      const host = all.find((each) => each === text || each === text.toLowerCase());
      if (host === undefined) {
        const reason = `"${printable(text, 80)}" is no host of run ${reqid}, expected ${all.slice(0, 5).join(', ')}`;
        return err(failure('invalid_argument', `hosts: ${reason}`, { field: 'hosts', reason }));
      }
      asked.add(host);
    }
    const hosts = all.filter((host) => asked.has(host));
    events.emit({
      action: 'cancel',
      fields: { reqid, script, hosts: hosts.join(','), username: options.caller?.username || undefined },
    });
    const planned = yield* plan(context, question, options, hosts);
    const results = await parallel(planned.hosts, settings.maxParallel, async (addressed) => {
      const result = await cancelOn(context, planned, addressed, reqid, options);
      const { host, status, error } = result;
      if (error !== notKnown) cancelled(context, { reqid, host });
      events.emit({
        action: 'cancel-result',
        level: status === 'error' ? 'warning' : 'info',
        fields: { reqid, host, status, error: loggedError(error, options) },
      });
      return result;
    });
    return ok({ reqid, script, results });
  });
}

/** What legacy agents make of a request to stop a run. */
const notKnown = 'not known to legacy agents';

function cancelOn(
  context: DispatcherContext,
  { identity }: Plan,
  addressed: Plan['hosts'][number],
  reqid: string,
  { signal }: Asking,
): Promise<Cancelled> {
  const { host, record } = addressed;
  // It counts connections, and knows no such request.
  if (record && !can(record.standing, 'cancel'))
    return Promise.resolve({ host, status: 'error', error: notKnown, rtt: 0 });
  const started = context.clock.monotonic();
  const rtt = () => Math.round(context.clock.monotonic() - started);
  const options = { answerTimeout: 10_000, signal };
  return contact(context, identity, addressed, endpoint, { reqid }, options).match(
    ({ answer: { outcome } }): Cancelled =>
      outcome === 'absent'
        ? { host, status: 'error', error: notKnown, rtt: rtt() }
        : { host, status: outcome, rtt: rtt() },
    (error): Cancelled => ({ host, status: 'error', error: hostError(error), rtt: rtt() }),
  );
}
