import { okAsync } from 'neverthrow';
import type { Agent } from '../../../sdk/agent/agent.js';
import type { TrustedSerial } from '../../../sdk/agent/trust/trusted-serials.js';
import { complain, type ExitCode, exitCodes, report, say } from '../../command-line.js';

export interface TrustCommandOptions {
  readonly keep?: string;
  readonly unsigned?: string;
  readonly json?: boolean;
}

const reloadNow = 'An agent that is serving takes it over when it is told to reload (SIGHUP)';

/** Lists the trusted serials, or changes one of them. */
export async function trust(agent: Agent, { keep, unsigned, json }: TrustCommandOptions): Promise<ExitCode> {
  const kept = keep === undefined ? okAsync(undefined) : agent.keepSerial(keep);
  const changed = await kept.andThen(() =>
    unsigned === undefined ? okAsync(undefined) : agent.acceptUnsigned(unsigned),
  );
  if (changed.isErr()) return report(changed.error);
  if (keep !== undefined || unsigned !== undefined) {
    complain(reloadNow);
    return exitCodes.ok;
  }
  return agent.trustedSerials().match((serials) => {
    if (json) say(JSON.stringify(serials.map(asJson)));
    else if (serials.length === 0) say('No dispatcher is trusted');
    else for (const serial of serials) say(line(serial));
    return exitCodes.ok;
  }, report);
}

const line = ({ serial, dispatcherId, state, proven, mustSign, broughtBy }: TrustedSerial): string =>
  [
    `${serial} ${dispatcherId}: ${state}`,
    proven ? 'proven by its certificate' : 'not proven',
    mustSign ? 'signs' : 'need not sign',
    ...(broughtBy === undefined ? [] : [`brought by ${broughtBy}`]),
  ].join(', ');

const asJson = ({ serial, dispatcherId, state, proven, mustSign, broughtBy }: TrustedSerial) => ({
  serial,
  dispatcher: dispatcherId,
  state,
  proven,
  signs: mustSign,
  brought_by: broughtBy ?? null,
});
