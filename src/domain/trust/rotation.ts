import { err, ok, type Result } from 'neverthrow';
import { anything, decodeObject, type Field, integer, list, optional, shaped } from '../core/decode.js';
import { parseJsonObject } from '../core/json.js';
import { canonicalSerial } from './serial.js';
import { readSuccessions, type Succession, successionToJson } from './succession.js';

/** A replacement of a stolen identity that is not finished. */
export interface Compromised {
  /** Serial of the identity that took over. */
  readonly serial: string;
  /** Certificates that are to be revoked; `notAfter` in epoch milliseconds, where it is known. */
  readonly revoke: readonly { readonly serial: string; readonly notAfter?: number | undefined }[];
}

/** Where a rotation of the dispatcher's identity stands; kept beside the keys and replaced together with them. */
export interface RotationState {
  /** Every step that was taken or announced, oldest first. */
  readonly successions: readonly Succession[];
  /** When the next identity was made, epoch milliseconds; undefined: none is announced. */
  readonly announcedAt: number | undefined;
  /** When the present identity took over, epoch milliseconds; undefined: it is the first. */
  readonly switchedAt: number | undefined;
  /** Undefined: none, or it is finished. */
  readonly compromised?: Compromised | undefined;
}

export const noRotation: RotationState = { successions: [], announcedAt: undefined, switchedAt: undefined };

/** Steps that are kept. */
const maxSteps = 256;

export function formatRotation({ successions, announcedAt, switchedAt, compromised }: RotationState): string {
  const state = {
    format: 1,
    successions: successions.slice(-maxSteps).map(successionToJson),
    announced_at: announcedAt,
    switched_at: switchedAt,
    compromised: compromised && {
      serial: compromised.serial,
      revoke: compromised.revoke.map(({ serial, notAfter }) => ({ serial, not_after: notAfter })),
    },
  };
  return `${JSON.stringify(state, null, 2)}\n`;
}

const open = { open: true };
const time: Field<number> = { ...integer(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER), form: 'a time' };
const serial: Field<string> = {
  form: 'a serial',
  read: (value) => (typeof value === 'string' && canonicalSerial(value) === value ? value : undefined),
};
const revoked = shaped('a certificate', { serial, not_after: optional(time) }, open);
const shape = {
  successions: anything,
  announced_at: optional(time),
  switched_at: optional(time),
  compromised: optional(
    shaped('understood', { serial, revoke: list(revoked, 0, Number.POSITIVE_INFINITY) }, open),
  ),
};

/** @param text undefined: there was no rotation yet */
export function parseRotation(text: string | undefined): Result<RotationState, string> {
  if (text === undefined) return ok(noRotation);
  return parseJsonObject(text)
    .andThen((value) => {
      if (value['format'] !== 1) return err('written by a newer ctrl-exec');
      return decodeObject(value, shape, open);
    })
    .andThen(({ successions, announced_at, switched_at, compromised }) =>
      readSuccessions(successions, maxSteps).map((steps) => ({
        successions: steps,
        announcedAt: announced_at,
        switchedAt: switched_at,
        ...(compromised && {
          compromised: {
            serial: compromised.serial,
            revoke: compromised.revoke.map(({ not_after: notAfter, ...rest }) => ({ ...rest, notAfter })),
          },
        }),
      })),
    );
}
