import { errAsync, ok, okAsync, type Result, type ResultAsync } from 'neverthrow';
import { can } from '../../../../domain/trust/abilities.js';
import { chainTo, successionToJson } from '../../../../domain/trust/succession.js';
import type { CallError } from '../../../protocol/client.js';
import { serials } from '../../../protocol/endpoints.js';
import { acknowledgement } from '../../../protocol/reading.js';
import type { DispatcherContext } from '../../context.js';
import type { Presence } from '../identity.js';
import { addByScript } from './serial-script.js';
import { type Acknowledged, askFor, inOrder, note, type Update } from './update.js';

/** What is asked where a serial is to be trusted. */
export const addition = ({ certificate: { serial, pem } }: Presence) =>
  ({ serial, action: 'add', pem }) as const;

/** Has an agent trust a serial of this dispatcher, as an identity that it trusts. */
export function addSerial(context: DispatcherContext, update: Update, added: Presence): Acknowledged {
  const { agent, by, identity } = update;
  const { serial } = added.certificate;
  return askFor(context, update, serials, addition(added))
    .andThen(({ answer }): ResultAsync<void, CallError> | Result<void, CallError> =>
      answer.outcome === 'absent' && !can(agent.record.standing, 'successions')
        ? addByScript(context, { ...by, cas: identity.cas }, agent, serial)
        : acknowledgement(serials, answer),
    )
    .andThen(() => note(context, update, { trusts: [serial] }));
}

/** The agent's words where its disk is full, say: it is asked again. */
const notStored = 'the agent could not store it';

/**
 * Has an agent retire a serial of this dispatcher, with the proof that the one that asks follows it. An agent that does not take
 * the proof goes on trusting the serial: that is logged, and not asked again.
 */
export function retireSerial(context: DispatcherContext, update: Update, serial: string): Acknowledged {
  const { agent, by, identity } = update;
  const line = chainTo(identity.rotation.successions, new Set([serial]), by.certificate.serial);
  const proof = line && line.length > 0 && { succession: line.map(successionToJson) };
  return askFor(context, update, serials, { serial, action: 'remove', ...proof })
    .andThen(({ answer }): Result<void, CallError> => {
      if (answer.outcome !== 'refused' || answer.error === notStored) return acknowledgement(serials, answer);
      context.events.emit({
        action: 'serial-kept',
        level: 'warning',
        fields: { host: agent.record.name, serial, reason: answer.error },
      });
      return ok(undefined);
    })
    .andThen(() => note(context, update, { retired: [serial] }));
}

/** Former serials that an agent may trust without that being known here. */
const maxStrays = 8;

/**
 * Whoever had to be shown the present serial anew may trust former serials that nobody here knows of: an acknowledgement that was
 * lost, a backup that was restored. What it has against taking them away is no reason not to go on.
 */
export function retireStrays(context: DispatcherContext, update: Update): Acknowledged {
  const { own, rotation } = update.identity;
  const former = [...new Set(rotation.successions.map(({ old }) => old))]
    .filter((serial) => ![own.current, own.next, own.previous].includes(serial))
    .slice(-maxStrays);
  return inOrder(former.map((serial) => () => retireSerial(context, update, serial))).orElse((error) =>
    error.code === 'refused' ? okAsync(undefined) : errAsync(error),
  );
}
