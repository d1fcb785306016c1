import type { Agent } from '../../../sdk/agent.js';
import { type ExitCode, exitCodes, report, say } from '../../command-line.js';

/** Exit 0 paired, 1 not. */
export function pairingStatus(agent: Agent, options: { json?: boolean }): Promise<ExitCode> {
  return agent.pairingStatus().match((status) => {
    const { paired, name, serial, notAfter, dispatchers } = status;
    const expiry = notAfter === undefined ? undefined : new Date(notAfter).toISOString();
    if (options.json) say(JSON.stringify({ paired, name, serial, expiry, dispatchers }));
    else if (paired)
      say(`Paired as ${name}, certificate ${serial} until ${expiry}; dispatchers: ${dispatchers.join(', ')}`);
    else say('Not paired');
    return paired ? exitCodes.ok : exitCodes.failed;
  }, report);
}

export async function selfCheck(agent: Agent): Promise<ExitCode> {
  const checks = await agent.selfCheck();
  for (const { name, ok, detail } of checks) say(`${ok ? 'ok  ' : 'FAIL'}  ${name}: ${detail}`);
  return checks.every(({ ok }) => ok) ? exitCodes.ok : exitCodes.failed;
}

export function selfPing(agent: Agent, options: { port?: number }): Promise<ExitCode> {
  return agent.selfPing(options.port).match(({ host, port, rtt }) => {
    say(`ok  ${host}:${port} answers with this agent's certificate, ${rtt} ms`);
    return exitCodes.ok;
  }, report);
}
