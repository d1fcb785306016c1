import { err, ok, type Result } from 'neverthrow';
import { type CtrlExecError, failure } from './errors.js';

const unitSeconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** Reads a duration as people write it (`90`, `90s`, `15m`, `2h`, `7d`): whole seconds from 1 to 31,536,000 (a year). */
export function parseDuration(
  text: string,
  field = 'duration',
): Result<number, CtrlExecError<'invalid_argument'>> {
  const [, digits = '', unit = 's'] = /^(\d{1,9})([smhd])?$/.exec(text) ?? [];
  const seconds = Number(digits) * (unitSeconds[unit] ?? 0);
  if (digits !== '' && seconds >= 1 && seconds <= 31_536_000) return ok(seconds);
  const reason = 'a time like 90s, 15m, 2h or 7d is expected, at most 365d';
  return err(failure('invalid_argument', `${field}: ${reason}`, { field, reason }));
}
