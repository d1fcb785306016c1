import type { HostResult, HostState } from '../../domain/runs/record.js';
import { green, red } from './progress.js';
import { marked } from './terminal-text.js';

/** A result with the fields of the HTTP API. */
export const resultJson = ({
  reportedHostname,
  fetchError,
  unheard: _,
  ...result
}: HostResult & { readonly fetchError?: string }) => ({
  ...result,
  rtt: `${result.rtt}ms`,
  ...(reportedHostname !== undefined && { reported_hostname: reportedHostname }),
  ...(fetchError !== undefined && { fetch_error: fetchError }),
});

/** The same of a host of an async run, without its name. */
export const stateJson = ({
  host: _,
  fetchError,
  unheard: __,
  ...state
}: HostState & { readonly fetchError?: string }) => ({
  ...state,
  ...(fetchError !== undefined && { fetch_error: fetchError }),
});

type Noted = Pick<HostState, 'error' | 'truncated'> & { readonly fetchError?: string };

/** The line of a result, and what is to be said about it: all but the output. */
export function headText(result: HostResult & { readonly fetchError?: string }): string {
  const { host, exit, rtt, reqid, reportedHostname } = result;
  const name = reportedHostname === undefined ? host : `${host} (${reportedHostname})`;
  const verdict = exit === 0 ? green('OK') : red('FAIL');
  return `==> ${name}  [${verdict}  exit:${exit}  ${rtt}ms  req:${reqid}]\n${notes(result)}`;
}

function notes({ error, truncated, fetchError }: Noted): string {
  const parts: string[] = [];
  if (error !== undefined) parts.push(`    ERROR: ${error}\n`);
  if (fetchError !== undefined) parts.push(`    NOT ASKED: ${fetchError}\n`);
  for (const [stream, total] of Object.entries(truncated ?? {}))
    parts.push(`    TRUNCATED: ${stream}: head and tail of ${total} bytes\n`);
  return parts.join('');
}

const withNewline = (text: string): string => (text === '' || text.endsWith('\n') ? text : `${text}\n`);

type Output = Pick<HostState, 'stdout' | 'stderr'>;

/** As it was written: scripts of legacy installations read it, and the form is fixed. */
const piped = ({ stdout = '', stderr = '' }: Output): string =>
  withNewline(stdout) + (stderr === '' ? '' : `    STDERR: ${withNewline(stderr)}`);

/** For people: a script can neither write to their terminal nor forge what stands around its output. */
const onTerminal = ({ stdout = '', stderr = '' }: Output): string =>
  marked(stdout, '| ') + marked(stderr, 'STDERR| ');

const output = (of: Output): string =>
  /* defence: terminal-output-is-marked */ process.stdout.isTTY === true ? onTerminal(of) : piped(of);

export const resultText = (result: HostResult & { readonly fetchError?: string }): string =>
  headText(result) + output(result);

/** A host of an async run in the same form. */
export function stateText(state: HostState & { readonly fetchError?: string }, reqid: string): string {
  const { host, status, exit } = state;
  const ended = exit === 0 ? green('OK') : red('FAIL');
  const verdict = status === 'done' ? ended : status.toUpperCase();
  const code = exit === undefined ? '' : `  exit:${exit}`;
  return `==> ${host}  [${verdict}${code}  req:${reqid}]\n${notes(state)}${output(state)}`;
}
