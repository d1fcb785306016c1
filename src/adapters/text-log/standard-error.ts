import { fstatSync } from 'node:fs';
import type { EventLevel } from '../../domain/core/event.js';

/** As sd-daemon(3) has it in front of a line. */
const severities: Readonly<Record<EventLevel, string>> = { error: '<3>', warning: '<4>', info: '<6>' };

/**
 * Whether a descriptor goes to the journal, which then takes a `<severity>` off the front of each line. The variable
 * alone says nothing: it is inherited where output is not.
 * @param stream the value of `JOURNAL_STREAM`, `device:inode`
 */
export function goesToJournal(stream: string | undefined, descriptor: number): boolean {
  if (!stream) return false;
  try {
    const { dev, ino } = fstatSync(descriptor, { bigint: true });
    return stream === `${dev}:${ino}`;
  } catch {
    return false;
  }
}

const ignore = (): void => undefined;

/** Writes lines on standard error, with their severity where that is the journal. A reader that has gone is no failure. */
export function standardError(): (line: string, level: EventLevel) => void {
  const marked = goesToJournal(process.env['JOURNAL_STREAM'], 2);
  if (!process.stderr.listeners('error').includes(ignore)) process.stderr.on('error', ignore);
  return (line, level) => {
    process.stderr.write(`${marked ? severities[level] : ''}${line}\n`);
  };
}
