import { agentName } from '../core/names.js';
import { isGivenUp, type PairingRequest } from './request.js';

/** How a pairing request stands for people. `approved`: it waits for its agent. `given-up`: it ended, and holds a place. */
export type RequestState = PairingRequest['state'] | 'approved' | 'given-up';

export function requestState(request: PairingRequest, now: number): RequestState {
  if (isGivenUp(request, now)) return 'given-up';
  return request.state === 'open' && request.decision?.verdict === 'approve' ? 'approved' : request.state;
}

/** Whether it waits for a person to decide. */
export const needsAPerson = ({ state, decision }: Pick<PairingRequest, 'state' | 'decision'>): boolean =>
  state === 'open' && !decision;

/** The names under which those would be registered that a request id, or its first digits, may mean: agents choose the spelling. */
export const namesMeant = (requests: readonly PairingRequest[], id: string): readonly string[] =>
  requests
    .filter((each) => each.id.startsWith(id.toLowerCase()))
    .map(({ host }) => agentName(host).unwrapOr(host));
