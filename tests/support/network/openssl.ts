import { spawnSync } from 'node:child_process';

interface OpensslOptions {
  /** Standard input. */
  readonly input?: string | Uint8Array;
  readonly cwd?: string;
}

interface OpensslAnswer {
  readonly code: number | null;
  readonly ok: boolean;
  readonly stdout: string;
  readonly stderr: string;
  /** Both streams, standard output first. */
  readonly text: string;
}

/** What openssl answers, also where it says no. */
export function tryOpenssl(args: readonly string[], options: OpensslOptions = {}): OpensslAnswer {
  const { status, stdout, stderr } = spawnSync('openssl', args, { input: '', ...options, encoding: 'utf8' });
  return { code: status, ok: status === 0, stdout, stderr, text: stdout + stderr };
}

/** What openssl answers; it throws where openssl says no. */
export function openssl(args: readonly string[], options: OpensslOptions = {}): OpensslAnswer {
  const answer = tryOpenssl(args, options);
  if (!answer.ok) throw new Error(`openssl ${args.join(' ')}: exit ${answer.code}: ${answer.text}`);
  return answer;
}

const missing = !tryOpenssl(['version']).ok;

/** For `describe.skipIf`, and the reason for the name. */
export const noOpenssl = {
  missing,
  because: missing ? ' (skipped: no openssl command on this machine)' : '',
};
