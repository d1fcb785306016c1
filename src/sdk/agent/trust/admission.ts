import { okAsync, type ResultAsync } from 'neverthrow';
import { sourceOf } from '../../../domain/core/ip-prefix.js';
import { knownSources } from '../../../domain/protocol/known-sources.js';
import { type LimitKind, sourceLimits } from '../../../domain/protocol/source-limits.js';
import { inDirectory } from '../../../domain/settings/fields.js';
import type { ConnectionPeer, ListenOptions, Preferred } from '../../../ports/listener.js';
import { inTurn } from '../../core/parallel.js';
import { refusalLog } from '../../core/refusals.js';
import type { AgentContext } from '../context.js';
import type { Current } from './current.js';
import { isAllowed, isOfOurCas, notAllowed } from './recognise.js';
import { dispatcherOf } from './trust-lines.js';

/** Sources that are counted, and as many that are blocked. */
const maxSources = 8_192;

/** Milliseconds that a connection of a known source waits while that is beyond its limits. */
const slowedBy = 100;

/** Blocks that are told in a minute, begun and ended ones each; the others are told as a number. */
const maxTold = 30;

const maxKnownFile = 65_536;

/** What is not the fault of whom it met. */
const noFault: ReadonlySet<string> = new Set([
  'TOO_MANY_HANDSHAKES',
  'TOO_MANY_CONNECTIONS',
  'GAVE_WAY',
  'CLOSING',
]);

/** What came to nothing without a handshake that failed. */
const noProbe: ReadonlySet<string> = new Set(['CLOSED_AT_ONCE', 'TOO_MANY_OF_THIS_ADDRESS']);

/** What the listener asks and tells about who connects. */
export interface Admission extends Required<Pick<ListenOptions, 'refused'>> {
  knows(peer: ConnectionPeer): boolean;
  accept(address: string): boolean | Preferred;
  /** Resolves once what is known is written. */
  close(): Promise<void>;
}

/** Lets through so many a minute, with the number of those before that it did not. */
function sparingly(now: () => number): (tell: (more: number | undefined) => void) => void {
  let since = Number.NEGATIVE_INFINITY;
  let told = 0;
  let untold = 0;
  return (tell) => {
    if (now() - since >= 60_000) {
      since = now();
      told = 0;
    }
    if (told >= maxTold) {
      untold += 1;
      return;
    }
    told += 1;
    tell(untold || undefined);
    untold = 0;
  };
}

/**
 * Decides who may connect: `allowed_ips` and `rate_limit_*` (docs/decisions/018). Connections are counted when they have
 * come to nothing, those of trusted dispatchers never. Where a trusted dispatcher has come from within a day, nobody is
 * blocked: connections wait a little instead.
 */
export function admissionOf(context: AgentContext, current: () => Current): ResultAsync<Admission, never> {
  const { clock, crypto, events, files } = context;
  const { stateDir } = current().state.settings;
  const path = inDirectory(stateDir, 'known-sources');
  const warn = (reason: string) => events.emit({ action: 'warning', level: 'warning', fields: { reason } });
  return files
    .readText(path, maxKnownFile)
    .orElse(({ message }) => {
      warn(message);
      return okAsync(undefined);
    })
    .map((text): Admission => {
      const known = knownSources(text ?? '', clock.now());
      const limits = sourceLimits(maxSources);
      const inOrder = inTurn();
      const tellRefusal = refusalLog(clock, (ip, reason, more) =>
        events.emit({ action: 'connection-refused', level: 'warning', fields: { ip, reason, more } }),
      );
      const tellBegun = sparingly(clock.monotonic);
      const tellEnded = sparingly(clock.monotonic);
      let writing: ResultAsync<void, never> = okAsync(undefined);
      let cancelSweep: (() => void) | undefined;

      /** Blocks end by themselves; that they have is told a moment later. */
      const sweepLater = () => {
        const next = limits.nextEnd();
        if (next === undefined || cancelSweep) return;
        cancelSweep = clock.after(Math.max(1_000, next - clock.monotonic()), () => {
          cancelSweep = undefined;
          for (const { source, kind, met } of limits.takeEnded(clock.monotonic()))
            tellEnded((more) =>
              events.emit({ action: 'source-released', fields: { source, limit: kind, met, more } }),
            );
          sweepLater();
        });
      };

      const count = (address: string, kinds: readonly LimitKind[]) => {
        const { settings } = current().state;
        if (settings.rateLimitDisable) return;
        const bounds = { volume: settings.rateLimitVolume, probe: settings.rateLimitProbe };
        const source = sourceOf(address);
        const begun = limits.count(source, kinds, bounds, clock.monotonic());
        if (!begun) return;
        const { kind, seconds } = begun;
        const effect = known.has(source, clock.now()) ? 'slowed' : 'blocked';
        tellBegun((more) =>
          events.emit({
            action: 'source-limited',
            level: 'warning',
            fields: { source, limit: kind, effect, seconds, more },
          }),
        );
        sweepLater();
      };

      const isTrusted = ({ address, certificate }: ConnectionPeer): boolean => {
        const { state, identity } = current();
        return (
          certificate !== undefined &&
          isAllowed(state, address) &&
          !state.revoked.has(certificate.serial) &&
          dispatcherOf(context, state, certificate).isOk() &&
          isOfOurCas(context, certificate, identity.authorities)
        );
      };

      const write = () => {
        writing = inOrder(() =>
          files
            .makeDirectory(stateDir, 0o700)
            .andThen(() => files.replace(path, known.write(clock.now()), 0o600))
            .orElse(({ message }) => {
              warn(`${message}; after a restart it is not known where dispatchers come from`);
              return okAsync(undefined);
            }),
        );
      };

      return {
        accept(address) {
          const { state } = current();
          if (!isAllowed(state, address)) {
            tellRefusal(address, notAllowed);
            return false;
          }
          const source = sourceOf(address);
          const beyond = !state.settings.rateLimitDisable && limits.isBlocked(source, clock.monotonic());
          if (beyond) limits.met(source);
          if (known.has(source, clock.now())) return { delay: beyond ? slowedBy : 0 };
          return !beyond;
        },
        knows(peer) {
          if (!isTrusted(peer)) {
            const isRevoked = current().state.revoked.has(peer.certificate?.serial ?? '');
            count(peer.address, isRevoked ? ['volume', 'probe'] : ['volume']);
            return false;
          }
          if (known.note(sourceOf(peer.address), clock.now())) write();
          return true;
        },
        refused(address, reason, certificate) {
          tellRefusal(address, reason);
          // This host itself: a self-ping.
          if (certificate && crypto.equal(certificate.spki, current().identity.certificate.spki)) return;
          if (!noFault.has(reason)) count(address, noProbe.has(reason) ? ['volume'] : ['probe', 'volume']);
        },
        async close() {
          cancelSweep?.();
          await writing;
        },
      };
    });
}
