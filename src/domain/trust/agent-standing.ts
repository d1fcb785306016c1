/**
 * What an agent has acknowledged of what its dispatcher told it. What it has not is told again at the next contact.
 */
export interface AgentStanding {
  /** Serials of this dispatcher that the agent trusts, canonical, in the order in which it learnt them. */
  readonly serials: readonly string[];
  /** The CAs that it accepts, as `caSetDigest` names them; undefined: those that it was paired under. */
  readonly caSet: string | undefined;
  /** Number of the revocation list that it holds; 0: none. */
  readonly crlNumber: number;
  /** Epoch milliseconds of its last answer that was accepted; undefined: none yet. */
  readonly lastContact: number | undefined;
  /**
   * `signed`: it has signed something, and is a peer of ours: from then on a signature is required of it. `unsigned`: its last
   * answer had none, and it is a legacy agent. Undefined: not known yet.
   */
  readonly speaks: 'signed' | 'unsigned' | undefined;
  /** What it says it can do beside the protocol's first version (`settle`, …); undefined: it was not asked yet. */
  readonly features?: readonly string[];
  /** Scripts of which it runs several at a time, and how many. */
  readonly concurrency?: Readonly<Record<string, number>>;
  /**
   * Of an agent that does not sign: the serial of this dispatcher by which it last accepted a request. What it was told beside that
   * it has stored, and may take into use only when it is started again. Undefined: not seen yet.
   */
  readonly accepted?: string;
}

/** What an agent says about itself. */
export type Abilities = Required<Pick<AgentStanding, 'features' | 'concurrency'>>;

/** @param serials empty: it is not known what the agent trusts; the first contact shows */
export const newStanding = (
  serials: readonly string[] = [],
  caSet?: string,
  speaks?: AgentStanding['speaks'],
): AgentStanding => ({
  serials,
  caSet,
  crlNumber: 0,
  lastContact: undefined,
  speaks,
});

/** A change of what is known of an agent's standing; what is left out stays. */
export interface StandingChange {
  readonly trusts?: readonly string[];
  readonly retired?: readonly string[];
  readonly caSet?: string;
  readonly crlNumber?: number;
  readonly lastContact?: number;
  /** `unsigned` changes nothing about an agent that has signed before. */
  readonly speaks?: 'signed' | 'unsigned';
  readonly features?: readonly string[];
  readonly concurrency?: Readonly<Record<string, number>>;
  /** Left out of the standing of an agent that signs. */
  readonly accepted?: string;
}

/** With the change: serials are added and taken away, never replaced, so that two writers do not undo each other. */
export function withChange(standing: AgentStanding, change: StandingChange): AgentStanding {
  const added = (change.trusts ?? []).filter((serial) => !standing.serials.includes(serial));
  const speaks = standing.speaks === 'signed' ? 'signed' : (change.speaks ?? standing.speaks);
  const accepted = speaks === 'signed' ? undefined : (change.accepted ?? standing.accepted);
  return {
    serials: [...standing.serials, ...added].filter((serial) => !change.retired?.includes(serial)),
    caSet: change.caSet ?? standing.caSet,
    crlNumber: change.crlNumber ?? standing.crlNumber,
    lastContact: change.lastContact ?? standing.lastContact,
    speaks,
    ...abilitiesOf({ ...standing, ...change }),
    ...(accepted !== undefined && { accepted }),
  };
}

const abilitiesOf = ({ features, concurrency }: Pick<StandingChange, 'features' | 'concurrency'>) => ({
  ...(features && { features }),
  ...(concurrency && { concurrency }),
});

const sameAbilities = (a: AgentStanding, b: AgentStanding): boolean =>
  JSON.stringify(abilitiesOf(a)) === JSON.stringify(abilitiesOf(b));

/** Milliseconds by which a kept `lastContact` may lag: it changes with every answer, and is not worth a write each time. */
const contactLag = 60_000;

/** The standing to be kept after a change; undefined: what is kept says as much already. */
export function worthKeeping(standing: AgentStanding, change: StandingChange): AgentStanding | undefined {
  const next = withChange(standing, change);
  const sameSerials =
    next.serials.length === standing.serials.length &&
    next.serials.every((serial, index) => serial === standing.serials[index]);
  const lag = Math.abs((next.lastContact ?? 0) - (standing.lastContact ?? Number.NEGATIVE_INFINITY));
  const same =
    sameSerials &&
    next.caSet === standing.caSet &&
    next.crlNumber === standing.crlNumber &&
    next.speaks === standing.speaks &&
    next.accepted === standing.accepted &&
    sameAbilities(next, standing) &&
    (next.lastContact === standing.lastContact || lag < contactLag);
  return same ? undefined : next;
}

/**
 * How an agent stands to the dispatcher's identity (wire-protocol 2.4). `current`: it trusts the serial in use, and the next
 * one where one is announced. `pending`: it has yet to be told, and trusts one that can still tell it; or it does not sign, has
 * stored it, and has not been seen to use it. `stale`: only a chain of successions brings it back.
 */
export type SerialState = 'current' | 'pending' | 'stale';

/** The dispatcher's own serials, as far as they are in use. */
export interface OwnSerials {
  readonly current: string;
  /** Announced, not yet in use. */
  readonly next: string | undefined;
  /** In use before, until the overlap ends. */
  readonly previous: string | undefined;
}

export function serialState({ serials }: Pick<AgentStanding, 'serials'>, own: OwnSerials): SerialState {
  const trusts = (serial: string | undefined) => serial !== undefined && serials.includes(serial);
  if (trusts(own.current)) return own.next === undefined || trusts(own.next) ? 'current' : 'pending';
  return trusts(own.previous) ? 'pending' : 'stale';
}

/**
 * The same as far as it is known: an agent that does not sign is `current` only if it has accepted a request by the serial in use, or
 * was never told another one.
 */
export function knownSerialState(
  standing: Pick<AgentStanding, 'serials' | 'speaks' | 'accepted'>,
  own: OwnSerials,
): SerialState {
  const state = serialState(standing, own);
  if (state !== 'current' || standing.speaks === 'signed') return state;
  const { accepted, serials } = standing;
  const seen = accepted === own.current || (accepted === undefined && serials.length < 2);
  return seen ? state : 'pending';
}

/** Serials that an agent still trusts although this dispatcher uses them no more. */
export const outlived = (
  { serials }: Pick<AgentStanding, 'serials'>,
  { current, next, previous }: OwnSerials,
): readonly string[] => serials.filter((serial) => ![current, next, previous].includes(serial));

/**
 * Whether an answer without a signature may be accepted (wire-protocol 2.3): the operator allows it of this agent, and it has never
 * signed anything.
 * @param allowed `allow_legacy_agents`
 */
export const mayAnswerUnsigned = (
  { name, standing }: { readonly name: string; readonly standing: Pick<AgentStanding, 'speaks'> },
  allowed: '*' | readonly string[],
): boolean =>
  (allowed === '*' || allowed.includes(name)) &&
  /* defence: agent-that-signed-must-sign */ standing.speaks !== 'signed';
