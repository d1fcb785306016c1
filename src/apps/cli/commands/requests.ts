import type { PairingRequest } from '../../../domain/pairing-request.js';
import type { Dispatcher } from '../../../sdk/dispatcher.js';
import { type ExitCode, exitCodes, report, say } from '../../command-line.js';
import { moment, table } from '../table.js';

export function listRequests(dispatcher: Dispatcher, options: { json?: boolean }): Promise<ExitCode> {
  return dispatcher.pairingRequests().match((requests) => {
    process.stdout.write(
      options.json ? `${JSON.stringify({ ok: 1, requests: requests.map(asJson) })}\n` : asTable(requests),
    );
    return exitCodes.ok;
  }, report);
}

const asTable = (requests: readonly PairingRequest[]): string =>
  table(
    ['ID', 'HOST', 'ADDRESS', 'CODE', 'STATE', 'EXPIRES'],
    requests.map((request) => [
      request.id,
      request.host,
      request.ip,
      request.code ?? '-',
      request.decision?.verdict === 'approve' ? 'approved' : request.state,
      moment(request.expiresAt),
    ]),
  );

const asJson = ({ id, host, ip, port, code, state, decision, createdAt, expiresAt }: PairingRequest) => ({
  id,
  host,
  ip,
  port,
  code: code ?? null,
  state: decision?.verdict === 'approve' ? 'approved' : state,
  created: new Date(createdAt).toISOString(),
  expires: new Date(expiresAt).toISOString(),
});

export interface ApproveOptions {
  readonly code?: string;
  readonly name?: string;
  readonly replace?: boolean;
  readonly lookupBy?: 'hostname' | 'ip';
  readonly agentPort?: number;
}

export function approve(dispatcher: Dispatcher, id: string, options: ApproveOptions): Promise<ExitCode> {
  const { agentPort: port, ...others } = options;
  return dispatcher.approve({ id, ...others, ...(port !== undefined && { port }) }).match((request) => {
    const name = request.decision?.verdict === 'approve' ? request.decision.name : request.host;
    say(
      `Approved ${request.id.slice(0, 8)} as ${name}: it is paired once the agent's side has confirmed the code`,
    );
    return exitCodes.ok;
  }, report);
}

export function deny(dispatcher: Dispatcher, id: string): Promise<ExitCode> {
  return dispatcher.deny(id).match((request) => {
    say(`Denied ${request.id.slice(0, 8)} (${request.host})`);
    return exitCodes.ok;
  }, report);
}
