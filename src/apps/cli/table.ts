import stringWidth from 'string-width';

/**
 * A header line, a line of dashes, then one line a row; columns two blanks apart, by the width that a terminal gives them. Scripts of legacy installations read
 * the first column.
 */
export function table(header: readonly string[], rows: ReadonlyArray<readonly string[]>): string {
  // The last cell of a row may be as long as it likes: an error text widens no column.
  const widths = header.map((title, column) =>
    Math.max(
      stringWidth(title),
      ...rows.map((row) => (column < row.length - 1 ? stringWidth(row[column] ?? '') : 0)),
    ),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => cell + ' '.repeat(Math.max(0, (widths[column] ?? 0) - stringWidth(cell))))
      .join('  ')
      .trimEnd();
  const dashes = '-'.repeat(widths.reduce((sum, width) => sum + width + 2, -2));
  return `${[line(header), dashes, ...rows.map(line)].join('\n')}\n`;
}

/** A moment as people read it in tables: UTC, to the minute. */
export const moment = (time: number): string =>
  `${new Date(time).toISOString().slice(0, 16).replace('T', ' ')}Z`;
