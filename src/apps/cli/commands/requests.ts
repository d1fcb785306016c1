import type { CtrlExecError, ErrorCode } from '../../../domain/core/errors.js';
import { compared, type PairingRequest } from '../../../domain/pairing/request.js';
import { requestState } from '../../../domain/pairing/request-state.js';
import type { Dispatcher } from '../../../sdk/dispatcher/dispatcher.js';
import { complain, type ExitCode, exitCodes } from '../../command-line.js';
import { type Printing, print, refused } from '../printing.js';
import { moment, table } from '../table.js';

/** What has to be known before a request of version 1 is approved (wire-protocol 2.2). */
export const forgeable =
  'The code of version 1 proves nothing: whoever is between the two hosts can forge it. Approve only where nobody can be';

/** That an agent has another address by its own account than the one that its connection came from. */
const twoAddresses = ({ host, ip }: Pick<PairingRequest, 'host' | 'ip'>, statedIp: string): string =>
  `${host} came from ${ip} and says that its address is ${statedIp}: ${ip} is registered, unless "approve ID --ip ADDRESS" says otherwise`;

export interface ListRequestsOptions {
  readonly json?: boolean;
  readonly givenUp?: boolean;
}

/** Prints the requests that wait; with `givenUp` those as well that were given up and hold a place. */
export function listRequests(dispatcher: Dispatcher, options: ListRequestsOptions): Promise<ExitCode> {
  return dispatcher.pairingRequests({ givenUp: options.givenUp ?? false }).match((requests) => {
    if (!options.json && requests.some(({ version }) => version === 'v1')) complain(forgeable);
    for (const request of options.json ? [] : requests)
      if (request.statedIp !== undefined)
        complain(`${request.id.slice(0, 8)}: ${twoAddresses(request, request.statedIp)}`);
    process.stdout.write(
      options.json ? `${JSON.stringify({ ok: 1, requests: requests.map(asJson) })}\n` : asTable(requests),
    );
    return exitCodes.ok;
  }, refused(options));
}

const asTable = (requests: readonly PairingRequest[]): string =>
  table(
    ['ID', 'HOST', 'ADDRESS', 'CODE', 'STATE', 'EXPIRES', 'VERSION'],
    requests.map((request) => [
      request.id,
      request.host,
      request.ip,
      compared(request) ?? '-',
      requestState(request, Date.now()),
      moment(request.expiresAt),
      request.version === 'v1' ? '1' : '2',
    ]),
  );

const asJson = (request: PairingRequest) => ({
  id: request.id,
  host: request.host,
  ip: request.ip,
  stated_ip: request.statedIp ?? null,
  port: request.port,
  code: request.code ?? null,
  compare: compared(request) ?? null,
  version: request.version === 'v1' ? 1 : 2,
  state: requestState(request, Date.now()),
  created: new Date(request.createdAt).toISOString(),
  expires: new Date(request.expiresAt).toISOString(),
});

const commandFor: Partial<Record<ErrorCode, string>> = {
  agent_exists: 'approve ID --replace',
  downgrade_refused: 'approve ID --name NAME',
};

/** Why a request was not decided, with the command that helps. */
export function undecided(error: CtrlExecError): string {
  const isName = error.code === 'invalid_argument' && error.field === 'name';
  const command = isName ? 'approve ID --name NAME' : commandFor[error.code];
  return command === undefined ? error.message : `${error.message} (${command})`;
}

export interface ApproveOptions extends Printing {
  readonly code?: string;
  readonly name?: string;
  readonly replace?: boolean;
  readonly lookupBy?: 'hostname' | 'ip';
  readonly agentPort?: number;
  readonly ip?: string;
}

export function approve(dispatcher: Dispatcher, id: string, options: ApproveOptions): Promise<ExitCode> {
  const { agentPort: port, json: _, ...others } = options;
  return dispatcher.approve({ id, ...others, ...(port !== undefined && { port }) }).match(
    (request) => {
      const { decision, statedIp } = request;
      const name = decision?.verdict === 'approve' ? decision.name : request.host;
      const ip = decision?.verdict === 'approve' ? decision.ip : undefined;
      print(options, { ...asJson(request), name }, [
        request.version === 'v1'
          ? `Approved ${request.id.slice(0, 8)} as ${name}, by version 1: its certificate goes out at once`
          : `Approved ${request.id.slice(0, 8)} as ${name}: it is paired once the agent's side has confirmed the code`,
        ...(ip !== undefined ? [`Registered address: ${ip}`] : []),
        ...(ip === undefined && statedIp !== undefined
          ? [
              `Registered address: ${request.ip}, where it came from; it says ${statedIp}: "ctrl-exec edit-agent ${name} --ip ADDRESS" changes it`,
            ]
          : []),
      ]);
      if (request.version === 'v1') complain(forgeable);
      return exitCodes.ok;
    },
    (error) => refused(options)({ ...error, message: undecided(error) }),
  );
}

export function deny(dispatcher: Dispatcher, id: string, options: Printing): Promise<ExitCode> {
  return dispatcher.deny(id).match((request) => {
    print(options, { ...asJson(request), state: 'denied' }, [
      `Denied ${request.id.slice(0, 8)} (${request.host})`,
    ]);
    return exitCodes.ok;
  }, refused(options));
}
