import { err, ok, type Result } from 'neverthrow';
import { parseJsonObject } from '../core/json.js';
import { canonicalSerial } from './serial.js';
import { readSuccessions, type Succession, successionToJson } from './succession.js';

/** A replacement of a stolen identity that is not finished. */
export interface Compromised {
  /** Serial of the identity that took over. */
  readonly serial: string;
  /** Certificates that are to be revoked; `notAfter` in epoch milliseconds, where it is known. */
  readonly revoke: readonly { readonly serial: string; readonly notAfter?: number }[];
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

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null;

const isSerial = (value: unknown): value is string =>
  typeof value === 'string' && canonicalSerial(value) === value;

function readCompromised(value: unknown): Result<Compromised | undefined, string> {
  if (value === undefined) return ok(undefined);
  const wrong = err('"compromised" is not understood');
  if (!isObject(value) || !isSerial(value['serial']) || !Array.isArray(value['revoke'])) return wrong;
  const revoke: { serial: string; notAfter?: number }[] = [];
  for (const entry of value['revoke'] as readonly unknown[]) {
    if (!isObject(entry) || !isSerial(entry['serial'])) return wrong;
    const notAfter = time(entry['not_after']);
    if (notAfter.isErr()) return wrong;
    revoke.push({
      serial: entry['serial'],
      ...(notAfter.value !== undefined && { notAfter: notAfter.value }),
    });
  }
  return ok({ serial: value['serial'], revoke });
}

const time = (value: unknown): Result<number | undefined, string> =>
  value === undefined || (typeof value === 'number' && Number.isSafeInteger(value))
    ? ok(value)
    : err('a time is not a number');

/** @param text undefined: there was no rotation yet */
export function parseRotation(text: string | undefined): Result<RotationState, string> {
  if (text === undefined) return ok(noRotation);
  return parseJsonObject(text).andThen((value) => {
    if (value['format'] !== 1) return err('written by a newer ctrl-exec');
    return readSuccessions(value['successions'], maxSteps).andThen((successions) =>
      time(value['announced_at']).andThen((announcedAt) =>
        time(value['switched_at']).andThen((switchedAt) =>
          readCompromised(value['compromised']).map((compromised) => ({
            successions,
            announcedAt,
            switchedAt,
            ...(compromised && { compromised }),
          })),
        ),
      ),
    );
  });
}
