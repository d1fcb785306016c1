import type { CtrlExecError } from '../../../domain/errors.js';
import type { PairingTrust } from '../../../sdk/agent/pair.js';
import type { Agent } from '../../../sdk/agent.js';
import { complain, type ExitCode, exitCodes, report, say } from '../../command-line.js';
import { confirm } from '../../confirm.js';

export interface RequestPairingOptions {
  readonly dispatcher?: string;
  readonly ctrlExec?: string;
  readonly port?: number;
  readonly agentPort?: number;
  readonly name?: string;
  readonly lookupBy?: 'hostname' | 'ip';
  readonly caSha256?: string;
  readonly replace?: boolean;
  readonly newKey?: boolean;
}

/** Exit 0 paired, 2 timed out, 3 denied, 1 otherwise. */
export async function requestPairing(agent: Agent, options: RequestPairingOptions): Promise<ExitCode> {
  const dispatcher = options.dispatcher ?? options.ctrlExec;
  if (dispatcher === undefined) {
    complain('--dispatcher HOST is needed');
    return exitCodes.usage;
  }
  const stop = new AbortController();
  const onSignal = () => stop.abort();
  process.once('SIGINT', onSignal);
  process.once('SIGTERM', onSignal);
  const trust: PairingTrust =
    options.caSha256 === undefined
      ? {
          kind: 'compare',
          confirm: () => confirm('Does the dispatcher show the same code? [y/N] ', stop.signal),
        }
      : { kind: 'ca-sha256', fingerprint: options.caSha256 };
  const { port, agentPort, name, lookupBy, replace, newKey } = options;
  const outcome = await agent.pair({
    dispatcher,
    trust,
    signal: stop.signal,
    onCode: ({ code, request, dispatcherId }) => {
      say(`Request ${request.slice(0, 8)} to dispatcher ${dispatcherId}`);
      say(`Pairing code: ${code}`);
    },
    ...(port !== undefined && { port }),
    ...(agentPort !== undefined && { agentPort }),
    ...(name !== undefined && { hostName: name }),
    ...(lookupBy !== undefined && { lookupBy }),
    ...(replace !== undefined && { replace }),
    ...(newKey !== undefined && { newKey }),
  });
  process.off('SIGINT', onSignal);
  process.off('SIGTERM', onSignal);
  return outcome.match(({ name: paired, dispatcherId }) => {
    say(`Paired with ${dispatcherId} as ${paired}`);
    return exitCodes.ok;
  }, failed);
}

function failed(error: CtrlExecError): ExitCode {
  const code = report(error);
  if (error.code === 'pairing_expired' || error.code === 'timed_out') return 2;
  return error.code === 'pairing_denied' ? 3 : code;
}
