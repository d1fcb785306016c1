import { err, ok, type Result } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { comparison } from '../../../domain/pairing/request.js';
import type { Agent } from '../../../sdk/agent/agent.js';
import { judgeOptions, type PairingOptions, type PairingTrust } from '../../../sdk/agent/pairing/options.js';
import { reportedEnd } from '../../../sdk/agent/pairing/report.js';
import { complain, type ExitCode, exitCodes, report, say } from '../../command-line.js';
import { confirm } from '../../confirm.js';
import { readNamedFile } from '../../named-file.js';
import { continueInBackground, inBackground, letParentGo } from '../background.js';

export interface RequestPairingOptions {
  readonly dispatcher?: string;
  readonly ctrlExec?: string;
  readonly port?: number;
  readonly agentPort?: number;
  readonly name?: string;
  readonly lookupBy?: 'hostname' | 'ip';
  readonly caSha256?: string;
  readonly join?: string;
  readonly trustOnFirstUse?: boolean;
  readonly replace?: boolean;
  readonly newKey?: boolean;
  readonly allowV1?: boolean;
  readonly background?: boolean;
  readonly timeout?: number;
}

const invalid = (field: string, reason: string): CtrlExecError<'invalid_argument'> =>
  failure('invalid_argument', `${field}: ${reason}`, { field, reason });

/** Exit 0 paired, 2 timed out, 3 denied, 1 otherwise. */
export async function requestPairing(agent: Agent, options: RequestPairingOptions): Promise<ExitCode> {
  const dispatcher = options.dispatcher ?? options.ctrlExec;
  if (dispatcher === undefined) {
    complain('--dispatcher HOST is needed');
    return exitCodes.usage;
  }
  const stop = new AbortController();
  const trust = trustOf(options, stop.signal);
  if (trust.isErr()) return report(trust.error);
  const pairing = { dispatcher, trust: trust.value, signal: stop.signal, ...given(options) };
  const judged = judgeOptions(pairing);
  if (judged.isErr()) return report(judged.error);
  if (options.background && !inBackground()) return continueInBackground();

  const onSignal = () => stop.abort();
  process.once('SIGINT', onSignal);
  process.once('SIGTERM', onSignal);
  const outcome = await pairAndReport(agent, pairing);
  process.off('SIGINT', onSignal);
  process.off('SIGTERM', onSignal);
  return outcome.match(({ name, dispatcherId, version, acceptsUnsigned }) => {
    say(`Paired with ${dispatcherId} as ${name}${version === 'v1' ? ', by version 1' : ''}`);
    if (version === 'v1' && !acceptsUnsigned)
      say('It signs nothing: to serve it, accept_legacy_dispatchers = yes is needed in agent.conf');
    say('An agent that serves already takes this over at SIGHUP');
    return exitCodes.ok;
  }, failed);
}

function given(options: RequestPairingOptions): Partial<PairingOptions> {
  const { port, agentPort, name, lookupBy, replace, newKey, allowV1, timeout } = options;
  return {
    ...(port !== undefined && { port }),
    ...(agentPort !== undefined && { agentPort }),
    ...(name !== undefined && { hostName: name }),
    ...(lookupBy !== undefined && { lookupBy }),
    ...(replace !== undefined && { replace }),
    ...(newKey !== undefined && { newKey }),
    ...(allowV1 !== undefined && { allowV1 }),
    ...(timeout !== undefined && { timeout }),
  };
}

/** How the dispatcher is recognised: exactly one way. */
function trustOf(
  options: RequestPairingOptions,
  signal: AbortSignal,
): Result<PairingTrust, CtrlExecError<'invalid_argument'>> {
  const { caSha256: fingerprint, join, trustOnFirstUse, background } = options;
  const ways = [fingerprint, join, trustOnFirstUse].filter((way) => way !== undefined);
  if (ways.length > 1)
    return err(invalid('--join', 'give one of --ca-sha256, --join and --trust-on-first-use, not several'));
  if (join !== undefined) return readJoin(join).map((token) => ({ kind: 'join', token }));
  if (fingerprint !== undefined) return ok({ kind: 'ca-sha256', fingerprint });
  if (trustOnFirstUse) return ok({ kind: 'first-use' });
  if (background)
    return err(
      invalid(
        '--background',
        'nobody will compare the codes: --ca-sha256, --join or --trust-on-first-use is needed',
      ),
    );
  return ok({
    kind: 'compare',
    confirm: () => confirm('Does the dispatcher show the same request and code? [y/N] ', signal),
  });
}

/** A token as it is, or with `@` in front the file that holds it. */
function readJoin(text: string): Result<string, CtrlExecError<'invalid_argument'>> {
  if (!text.startsWith('@')) return ok(text);
  const path = text.slice(1);
  try {
    return ok(readNamedFile(path));
  } catch (thrown) {
    const { code = 'unknown' } = thrown as NodeJS.ErrnoException;
    return err(invalid('--join', `${path} cannot be read (${code})`));
  }
}

/** Pairs, shows the code, and in the background notes for `pairing-status` how it stands. */
async function pairAndReport(agent: Agent, options: PairingOptions) {
  const note = async (state: Parameters<Agent['reportPairing']>[0]) => {
    // In the foreground only what an earlier pairing in the background left behind is brought up to date.
    if (!inBackground() && (await agent.pairingReport()).unwrapOr(undefined) === undefined) return;
    const noted = await agent.reportPairing(state);
    if (noted.isErr()) complain(noted.error.message);
  };
  let shown = { request: '', code: '' };
  let noted: Promise<void> = Promise.resolve();
  const outcome = await agent.pair({
    ...options,
    onCode: ({ code, request, dispatcherId, version }) => {
      shown = { request, code };
      say(
        version === 'v1'
          ? `Request ${request.slice(0, 16)} by version 1, whose code proves nothing`
          : `Request ${request.slice(0, 8)} to dispatcher ${dispatcherId}`,
      );
      // What both hosts show is one text: a code alone could be of another request.
      say(`Pairing code: ${version === 'v1' ? code : comparison({ id: request }, code)}`);
      noted = note({ state: 'waiting', ...shown, pid: process.pid }).then(() => letParentGo());
    },
  });
  await noted;
  const end = outcome.match(() => ({ state: 'paired' as const }), reportedEnd);
  await note({ ...shown, ...end, pid: process.pid });
  return outcome;
}

function failed(error: CtrlExecError): ExitCode {
  const code = report(error);
  if (error.code === 'invalid_argument' && error.field === 'name') complain('--name NAME gives another one');
  if (error.code === 'pairing_expired' || error.code === 'timed_out') return 2;
  return error.code === 'pairing_denied' ? 3 : code;
}
