import { comparison } from '../../../domain/pairing/request.js';
import type { Agent } from '../../../sdk/agent/agent.js';
import type { PairingReport } from '../../../sdk/agent/pairing/report.js';
import { type ExitCode, exitCodes, report, say } from '../../command-line.js';

/** Exit 0 paired, 1 not; of a pairing in the background also 2 timed out, 3 denied. */
export async function pairingStatus(agent: Agent, options: PairingStatusOptions): Promise<ExitCode> {
  const reported = await background(agent, options.wait ?? 0);
  const status = await agent.pairingStatus();
  if (status.isErr()) return report(status.error);
  const { paired, name, serial, notAfter, dispatchers } = status.value;
  const expiry = notAfter === undefined ? undefined : new Date(notAfter).toISOString();
  if (options.json) say(JSON.stringify({ paired, name, serial, expiry, dispatchers, ...asJson(reported) }));
  else {
    if (paired)
      say(`Paired as ${name}, certificate ${serial} until ${expiry}; dispatchers: ${dispatchers.join(', ')}`);
    else say('Not paired');
    if (reported && reported.state !== 'paired') say(describe(reported));
  }
  if (reported?.state === 'timed-out') return 2;
  if (reported?.state === 'denied') return 3;
  return paired && reported?.state !== 'failed' ? exitCodes.ok : exitCodes.failed;
}

export interface PairingStatusOptions {
  readonly json?: boolean;
  /** Seconds to wait for the end of a pairing in the background. */
  readonly wait?: number;
}

const asJson = (reported: PairingReport | undefined) =>
  reported && {
    background: {
      state: reported.state,
      request: reported.request,
      code: reported.code,
      reason: reported.reason,
    },
  };

function describe({ state, request, code, reason }: PairingReport): string {
  // A dispatcher of version 1, whose request ids are shorter, shows the six digits alone.
  const shown = request.length === 32 ? comparison({ id: request }, code) : code;
  if (state === 'waiting')
    return `Request ${request.slice(0, 8)} waits to be approved, pairing code ${shown}`;
  return `The pairing in the background ${state === 'timed-out' ? 'timed out' : `was ${state}`}: ${reason ?? state}`;
}

/** How a pairing in the background stands, once it has ended or the time is up. */
async function background(agent: Agent, seconds: number): Promise<PairingReport | undefined> {
  const deadline = performance.now() + seconds * 1000;
  for (;;) {
    const reported = (await agent.pairingReport()).unwrapOr(undefined);
    if (reported?.state !== 'waiting') return reported;
    if (!isRunning(reported.pid)) return { ...reported, state: 'failed', reason: 'its process has ended' };
    if (performance.now() >= deadline) return reported;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code === 'EPERM';
  }
}

export async function selfCheck(agent: Agent, options: { json?: boolean }): Promise<ExitCode> {
  const checks = await agent.selfCheck();
  if (options.json)
    say(JSON.stringify({ checks: checks.map(({ warning = false, ...check }) => ({ ...check, warning })) }));
  else
    for (const { name, ok, warning, detail } of checks)
      say(`${ok ? (warning ? 'warn' : 'ok  ') : 'FAIL'}  ${name === 'warning' ? '' : `${name}: `}${detail}`);
  return checks.every(({ ok }) => ok) ? exitCodes.ok : exitCodes.failed;
}

export function selfPing(agent: Agent, options: { port?: number; json?: boolean }): Promise<ExitCode> {
  return agent.selfPing(options.port).match(({ host, port, rtt }) => {
    say(
      options.json
        ? JSON.stringify({ ok: 1, host, port, rtt: `${rtt}ms` })
        : `ok  ${host}:${port} answers with this agent's certificate, ${rtt} ms`,
    );
    return exitCodes.ok;
  }, report);
}
