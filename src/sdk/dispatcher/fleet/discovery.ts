import { errAsync, ok, okAsync, type ResultAsync, safeTry } from 'neverthrow';
import type { AdvertisedScript } from '../../../domain/protocol/agent-messages.js';
import { hostError } from '../../../domain/runs/host-ends.js';
import { guarded } from '../../core/callback.js';
import { parallel } from '../../core/parallel.js';
import type { DispatcherContext } from '../context.js';
import { freshReqid } from '../trust/ask.js';
import type { Addressed } from '../trust/destination.js';
import type { DispatcherIdentity } from '../trust/identity.js';
import { askAbilities } from './abilities.js';
import { type AskFailure, type Asking, loggedError, plan } from './ask.js';
import { pendingMember } from './contact.js';

export interface DiscoveryRequest extends Asking {
  /** Default: every registered agent. */
  readonly hosts?: readonly string[];
  /** Called as each host's answer arrives, in that order. */
  readonly onResult?: (host: DiscoveredHost) => void;
}

/** What one host says of itself, or why it did not. */
export type DiscoveredHost =
  | {
      readonly host: string;
      readonly status: 'ok';
      readonly version: string;
      /** Whole milliseconds. */
      readonly rtt: number;
      readonly tags: Readonly<Record<string, string>>;
      /** Sorted by name. */
      readonly scripts: readonly AdvertisedScript[];
      /** How the agent names itself, when that differs. */
      readonly reportedHostname?: string;
      /** Since when the agent lacks a revocation, epoch milliseconds: it may accept what was revoked. Absent: it lacks none. */
      readonly revocationsPendingSince?: number;
    }
  | { readonly host: string; readonly status: 'error'; readonly error: string; readonly rtt: number };

/** What hosts said of themselves. */
export interface Discovery {
  readonly reqid: string;
  readonly hosts: readonly DiscoveredHost[];
}

/** Asks agents for their scripts, tags and versions, and refreshes the tags in the registry. */
export function discover(
  context: DispatcherContext,
  request: DiscoveryRequest = {},
): ResultAsync<Discovery, AskFailure> {
  const reqid = freshReqid(context);
  return safeTry(async function* () {
    const named = request.hosts ?? [];
    const names = named.length > 0 ? named : (yield* context.registry.list()).map(({ name }) => name);
    const { hosts, identity } = yield* plan(context, { action: 'discovery', hosts: names }, request);
    const callback = guarded(request.onResult);
    const discovered = await parallel(hosts, context.settings.maxParallel, async (host) => {
      const found = await discoverOne(context, identity, host, reqid, request);
      callback.tell(found);
      return found;
    });
    callback.rethrow();
    return ok({ reqid, hosts: discovered });
  });
}

async function discoverOne(
  context: DispatcherContext,
  identity: DispatcherIdentity,
  addressed: Addressed,
  reqid: string,
  request: DiscoveryRequest,
): Promise<DiscoveredHost> {
  const { host } = addressed;
  const started = context.clock.monotonic();
  const options = { answerTimeout: context.settings.readTimeout * 1000, signal: request.signal };
  const outcome = await askAbilities(context, identity, addressed, options).andThen((called) =>
    // An agent that was unpaired meanwhile has nothing to keep its tags in.
    context.registry
      .update(called.name, { tags: called.answer.tags })
      .map(() => called)
      .orElse((error) => (error.code === 'agent_unknown' ? okAsync(called) : errAsync(error))),
  );
  context.events.emit({
    action: 'discovery',
    level: outcome.isOk() ? 'info' : 'warning',
    fields: { reqid, host, error: loggedError(outcome.isErr() ? outcome.error.message : undefined, request) },
  });
  return outcome.match(
    ({ answer: { version, tags, scripts, reportedHostname }, rtt, ...answered }): DiscoveredHost => ({
      host,
      status: 'ok',
      version,
      rtt,
      tags,
      scripts: [...scripts].sort((a, b) => (a.name < b.name ? -1 : 1)),
      ...(reportedHostname !== '' && reportedHostname !== host && { reportedHostname }),
      ...pendingMember(answered),
    }),
    (error): DiscoveredHost => ({
      host,
      status: 'error',
      error: hostError(error),
      rtt: Math.round(context.clock.monotonic() - started),
    }),
  );
}
