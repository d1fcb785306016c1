import { Buffer } from 'node:buffer';
import { type DerValue, derHex, derTag } from '../shared/der.js';

/** UTCTime is for the years 1950 to 2049, GeneralizedTime for those after (RFC 5280 section 4.1.2.5). */
const firstGeneralizedYear = 2050;

export const isTime = (value: DerValue | undefined): value is DerValue =>
  value?.tag === derTag.utcTime || value?.tag === derTag.generalizedTime;

/** Epoch milliseconds of a Time (RFC 5280 section 4.1.2.5); undefined when it is none, or of a day that never was. */
export function readTime({ tag, content }: DerValue): number | undefined {
  const yearDigits = tag === derTag.generalizedTime ? 4 : 2;
  if (content.length !== yearDigits + 11 || content.at(-1) !== 0x5a) return undefined;
  const year = fullYear(tag, digits(content, 0, yearDigits));
  const pair = (index: number) => digits(content, yearDigits + 2 * index, 2);
  const [month, day, hour, minute, second] = [pair(0), pair(1), pair(2), pair(3), pair(4)];
  const time = Date.UTC(year, month - 1, day, hour, minute, second);
  const date = new Date(time);
  const exists = date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
  return exists && hour < 24 && minute < 60 && second < 60 ? time : undefined;
}

/** Not a number for a year that the form is not for. */
function fullYear(tag: number, year: number): number {
  if (tag === derTag.generalizedTime) return year >= firstGeneralizedYear ? year : Number.NaN;
  return tag === derTag.utcTime ? year + (year < 50 ? 2000 : 1900) : Number.NaN;
}

/** A number in ASCII digits; not a number where there is anything else. */
function digits(bytes: Uint8Array, start: number, count: number): number {
  let number = 0;
  for (let at = start; at < start + count; at += 1) {
    const digit = (bytes[at] ?? 0) - 0x30;
    number = digit >= 0 && digit <= 9 ? number * 10 + digit : Number.NaN;
  }
  return number;
}

/** A Time, hex, of whole seconds within the years 1970 to 9999; undefined for another. */
export function writeTime(time: number): string | undefined {
  const date = new Date(Math.floor(time / 1000) * 1000);
  const year = date.getUTCFullYear();
  if (!(year >= 1970 && year <= 9999)) return undefined;
  const text = date.toISOString().slice(0, 19).replaceAll(/\D/g, '');
  return year < firstGeneralizedYear
    ? derHex(derTag.utcTime, latin1(`${text.slice(2)}Z`))
    : derHex(derTag.generalizedTime, latin1(`${text}Z`));
}

const latin1 = (text: string) => Buffer.from(text, 'latin1').toString('hex');
