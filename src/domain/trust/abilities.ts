import type { AgentStanding } from './agent-standing.js';

/**
 * What an agent that signs can do and a legacy agent cannot, and what is assumed of an agent that was not seen yet.
 */
const beforeItWasSeen = {
  /** It signs its answers: nothing is begun at an agent that might not. */
  sign: false,
  /** It counts no connections, and its handshake may be refused: it is asked whatever may be of use. */
  'frequent-requests': false,
  /** It is asked again as often as others; a legacy agent that counts connections is spared. */
  polling: true,
  /** It follows successions, and is told a serial by a request of its own. */
  successions: false,
  /** It takes a serial into use when it is told, not when it is started again. */
  'serial-at-once': true,
  /** It accepts several CAs, and learns of another one. */
  'several-cas': false,
  /** It takes revocation lists: it is pending until it has acknowledged the newest. */
  crl: false,
  /** A revocation list is worth offering: its first answer shows whether it takes it. */
  'crl-offer': true,
  /** It takes a renewed certificate into use at once, not when it is started again. */
  'renewal-at-once': true,
  /** It presents its certificate as a server alone. */
  'server-only': false,
  /** It keeps records of runs that are waited for, and may be asked what became of one. */
  records: true,
  /** It may know how to stop a run. */
  cancel: true,
} as const;

export type Ability = keyof typeof beforeItWasSeen;

/** Whether an agent can do something, as far as is known; one that is not registered was not seen. */
export const can = (standing: Pick<AgentStanding, 'speaks'> | undefined, ability: Ability): boolean =>
  standing?.speaks === undefined ? beforeItWasSeen[ability] : standing.speaks === 'signed';

/** Whether it is known what an agent is. */
export const wasSeen = ({ speaks }: Pick<AgentStanding, 'speaks'>): boolean => speaks !== undefined;
