import { printable } from '../../domain/core/names.js';

/** Text of a peer as one line of a terminal: whatever could move the cursor is shown as an escape. Tabs stay. */
export const visible = (text: string): string =>
  text
    .split('\t')
    .map((part) => /* defence: shown-output-is-printable */ printable(part, Number.POSITIVE_INFINITY))
    .join('\t');

/** Each line of a script's output behind a mark, so that none can be taken for one of ours. Empty for no output. */
export const marked = (text: string, mark: string): string =>
  text === ''
    ? ''
    : text
        .replace(/\n$/, '')
        .split('\n')
        .map((line) => `${mark}${visible(line.replace(/\r$/, ''))}\n`)
        .join('');
