const short: Record<string, string> = { n: '\n', r: '\r', t: '\t', '"': '"', '\\': '\\' };

/** The inverse of `logLine` for values that were not cut; throws at what it could not have written. */
export const parseLogLine = (line: string): { action: string; fields: Record<string, string> } => {
  const pairs: [string, string][] = [];
  const pair = /(?:^| )([A-Z0-9_]+)=(?:"((?:[^"\\]|\\(?:[nrt"\\]|u\{[0-9a-f]+\}))*)"|([^\s"\\]+))(?= |$)/y;
  while (pair.lastIndex < line.length) {
    const at = pair.lastIndex;
    const match = pair.exec(line);
    if (match === null) throw new Error(`not a log line at ${at}: ${JSON.stringify(line)}`);
    const value = (match[2] ?? match[3] ?? '').replaceAll(
      /\\(?:u\{([0-9a-f]+)\}|(.))/g,
      (_all, hex: string | undefined, letter: string) =>
        hex === undefined ? (short[letter] ?? '') : String.fromCodePoint(Number.parseInt(hex, 16)),
    );
    pairs.push([match[1] ?? '', value]);
  }
  const [first, ...rest] = pairs;
  if (first?.[0] !== 'ACTION') throw new Error('ACTION does not come first');
  return { action: first[1], fields: Object.fromEntries(rest) };
};
