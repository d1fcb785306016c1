import { err, ok, type Result } from 'neverthrow';
import { parseJsonObject } from '../core/json.js';
import { readSuccessions, type Succession, successionToJson } from './succession.js';

/** Where a rotation of the dispatcher's identity stands; kept beside the keys and replaced together with them. */
export interface RotationState {
  /** Every step that was taken or announced, oldest first. */
  readonly successions: readonly Succession[];
  /** When the next identity was made, epoch milliseconds; undefined: none is announced. */
  readonly announcedAt: number | undefined;
  /** When the present identity took over, epoch milliseconds; undefined: it is the first. */
  readonly switchedAt: number | undefined;
}

export const noRotation: RotationState = { successions: [], announcedAt: undefined, switchedAt: undefined };

/** Steps that are kept. */
const maxSteps = 256;

export function formatRotation({ successions, announcedAt, switchedAt }: RotationState): string {
  const kept = successions.slice(-maxSteps).map(successionToJson);
  return `${JSON.stringify({ format: 1, successions: kept, announced_at: announcedAt, switched_at: switchedAt }, null, 2)}\n`;
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
        time(value['switched_at']).map((switchedAt) => ({ successions, announcedAt, switchedAt })),
      ),
    );
  });
}
