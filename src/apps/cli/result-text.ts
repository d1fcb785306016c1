import { type HostResult, mayHaveRun } from '../../domain/runs/host-result.js';
import { exitOf, textOf } from '../../domain/runs/host-words.js';
import type { HostProgress } from '../../domain/runs/progress.js';
import { green, red } from './progress.js';
import { marked } from './terminal-text.js';

/** The line of a host, and what is to be said about it: all but the output. */
export function headText(result: HostProgress): string {
  const { host, rtt, reqid, reportedHostname } = result;
  const name = reportedHostname === undefined ? host : `${host} (${reportedHostname})`;
  const word = textOf(result);
  const verdict = word === 'OK' ? green(word) : word === 'FAIL' ? red(word) : word;
  return `==> ${name}  [${verdict}  exit:${exitOf(result)}  ${rtt}ms  req:${reqid}]\n${notes(result)}`;
}

function notes(result: HostProgress): string {
  const { error, truncated, leftBehind, stdoutBytes, stderrBytes, fetchError } = result;
  const parts: string[] = [];
  if (error !== undefined) parts.push(`    ERROR: ${error}\n`);
  if (fetchError !== undefined) parts.push(`    NOT ASKED: ${fetchError}\n`);
  for (const [stream, total] of Object.entries(truncated ?? {}))
    parts.push(`    TRUNCATED: ${stream}: head and tail of ${total} bytes\n`);
  for (const [stream, bytes] of Object.entries({ stdout: stdoutBytes, stderr: stderrBytes }))
    if (bytes) parts.push(`    NOT UTF-8: ${stream}: --json has the bytes as ${stream}_base64\n`);
  if (leftBehind && mayHaveRun(result)) parts.push(`    LEFT BEHIND: ${leftText(leftBehind)}\n`);
  return parts.join('');
}

const leftText = ({ count, pids }: NonNullable<HostResult['leftBehind']>): string => {
  if (count === undefined) return 'processes that cannot be seen live on';
  const more = count > pids.length ? ', …' : '';
  return `${count === 1 ? '1 process lives' : `${count} processes live`} on: ${pids.join(', ')}${more}`;
};

const withNewline = (text: string): string => (text === '' || text.endsWith('\n') ? text : `${text}\n`);

const encoder = new TextEncoder();

/** As it was written, byte for byte: scripts of legacy installations read it, and the form is fixed. */
function piped({ stdout, stderr, stdoutBytes, stderrBytes }: HostResult): Uint8Array {
  const written = (text: string, bytes: Uint8Array | undefined): readonly Uint8Array[] =>
    bytes ? [bytes, encoder.encode(bytes.at(-1) === 0x0a ? '' : '\n')] : [encoder.encode(withNewline(text))];
  const hasErrors = stderr !== '' || stderrBytes !== undefined;
  const parts = [
    ...written(stdout, stdoutBytes),
    ...(hasErrors ? [encoder.encode('    STDERR: '), ...written(stderr, stderrBytes)] : []),
  ];
  return Buffer.concat(parts);
}

/** For people: a script can neither write to their terminal nor forge what stands around its output. */
const onTerminal = ({ stdout, stderr }: HostResult): string =>
  marked(stdout, '| ') + marked(stderr, 'STDERR| ');

/** Prints a host and its output. */
export function showResult(result: HostProgress): void {
  process.stdout.write(headText(result));
  process.stdout.write(
    /* defence: terminal-output-is-marked */ process.stdout.isTTY === true
      ? onTerminal(result)
      : piped(result),
  );
}
