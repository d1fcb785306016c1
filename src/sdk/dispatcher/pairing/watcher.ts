import { err, ok, type ResultAsync } from 'neverthrow';
import type { PairingRequest } from '../../../domain/pairing/request.js';
import type { DispatcherContext } from '../context.js';
import { codesDiffer } from './decisions.js';
import { refusal, type SessionFailure } from './session.js';

/** So many wrong codes end pairing mode (wire-protocol 2.2). */
const maxWrongCodes = 3;

/** Milliseconds between two looks at what other terminals decided. */
const watchInterval = 1000;

export interface VigilOptions {
  readonly onChange: (request: PairingRequest) => void;
  /** Somebody is trying: pairing mode has to end. */
  readonly stop: (reason: 'wrong codes') => void;
  /** Whether anybody waits whose request is worth looking at. */
  readonly waiting: () => boolean;
  /** Called at every look. */
  readonly look: () => void;
}

/** What pairing mode keeps an eye on: decisions of other terminals, which come through the store, and wrong codes. */
export function pairingVigil(context: DispatcherContext, options: VigilOptions) {
  const { clock, events, pairingQueue } = context;
  const openedAt = clock.now();
  let attacked = false;

  /** Three wrong codes are no accident: somebody is trying. */
  const noAttack = (): ResultAsync<void, SessionFailure> =>
    pairingQueue
      .list(['open', 'denied', 'expired'])
      .mapErr((error): SessionFailure => error)
      .andThen((requests) => {
        const wrong = requests.filter(
          ({ decision, createdAt }) =>
            createdAt >= openedAt && decision?.verdict === 'deny' && decision.reason === codesDiffer,
        );
        if (/* defence: wrong-codes-end-pairing-mode */ wrong.length < maxWrongCodes) return ok(undefined);
        if (!attacked)
          events.emit({
            action: 'pairing-mode-ended',
            level: 'error',
            fields: { reason: 'three wrong codes' },
          });
        attacked = true;
        options.stop('wrong codes');
        return err(refusal('queue_full', 'pairing mode has ended after three wrong codes'));
      });

  /** A request has changed: whoever shows it is told, and wrong codes are counted. */
  const changed = async (id: string): Promise<void> => {
    const found = await pairingQueue.find(id);
    try {
      if (found.isOk() && found.value) options.onChange(found.value);
    } catch (error) {
      events.emit({ action: 'internal-error', level: 'error', fields: { reason: String(error) } });
    }
    await noAttack();
  };

  let watching: (() => void) | undefined;
  /** Looks every second for as long as somebody waits. */
  const watch = (): void => {
    watching ??= clock.after(watchInterval, () => {
      watching = undefined;
      options.look();
      void noAttack().then(() => {
        if (options.waiting() && !attacked) watch();
      });
    });
  };

  return { noAttack, changed, watch, end: () => watching?.() };
}

export type PairingVigil = ReturnType<typeof pairingVigil>;
