import { err, ok, type Result, safeTry } from 'neverthrow';
import type { AgentEndpoint, AgentRecord, KeyPin } from '../../../domain/trust/agent-record.js';
import type { AgentStanding } from '../../../domain/trust/agent-standing.js';
import { dictionaryOf, integer, listOf, oneOf, orNull, shape, text } from './shape.js';
import type { StoreFailed, Transaction } from './transaction.js';

/** As JSON holds it: what is undefined is absent. */
interface StoredStanding {
  readonly serials: readonly string[];
  readonly caSet?: string;
  readonly crlNumber: number;
  readonly lastContact?: number;
  readonly speaks?: 'signed' | 'unsigned';
  readonly features?: readonly string[];
  readonly concurrency?: Readonly<Record<string, number>>;
  readonly accepted?: string;
}

interface AgentRow {
  readonly name: string;
  readonly endpoint: AgentEndpoint;
  readonly pairing: 'v1' | 'v2';
  readonly paired_at: number;
  readonly tags: Readonly<Record<string, string>>;
  readonly standing: StoredStanding;
  readonly adopted: number;
}

export interface PinRow {
  readonly name: string;
  readonly state: 'active' | 'issued';
  readonly renewal: number;
  readonly spki_sha256: string;
  readonly serial: string;
  readonly not_after: number;
  readonly issued_at: number;
  readonly endpoint: AgentEndpoint | null;
  /** How the key came here; the record takes it over when the pin of a pairing becomes active. */
  readonly pairing: 'v1' | 'v2';
  /** What the agent learnt at the pairing; taken over likewise. */
  readonly standing: StoredStanding | null;
}

const isPairing = oneOf('v1', 'v2');

const isEndpoint = shape<AgentEndpoint>(
  { host: text, ip: text, port: integer, lookupBy: oneOf('hostname', 'ip') },
  {},
);

const isStanding = shape<StoredStanding>(
  { serials: listOf(text), crlNumber: integer },
  {
    caSet: text,
    lastContact: integer,
    speaks: oneOf('signed', 'unsigned'),
    features: listOf(text),
    concurrency: dictionaryOf(integer),
    accepted: text,
  },
);

const isAgentRow = shape<AgentRow>(
  {
    name: text,
    endpoint: isEndpoint,
    pairing: isPairing,
    paired_at: integer,
    tags: dictionaryOf(text),
    standing: isStanding,
    adopted: integer,
  },
  {},
);

export const isPinRow = shape<PinRow>(
  {
    name: text,
    state: oneOf('active', 'issued'),
    renewal: integer,
    spki_sha256: text,
    serial: text,
    not_after: integer,
    issued_at: integer,
    endpoint: orNull(isEndpoint),
    pairing: isPairing,
    standing: orNull(isStanding),
  },
  {},
);

/** The columns of a pin that hold JSON. */
export const pinJson = ['endpoint', 'standing'] as const;

export const pinOf = (row: PinRow): KeyPin => ({
  spkiSha256: row.spki_sha256,
  state: row.state,
  serial: row.serial,
  notAfter: row.not_after,
  issuedAt: row.issued_at,
  ...(row.endpoint === null ? {} : { endpoint: row.endpoint }),
  ...(row.renewal === 0 ? {} : { renewal: true as const }),
});

const standingOf = (stored: StoredStanding): AgentStanding => {
  const { serials, caSet, crlNumber, lastContact, speaks, features, concurrency, accepted } = stored;
  const abilities = { ...(features && { features }), ...(concurrency && { concurrency }) };
  const seen = accepted !== undefined && { accepted };
  return { serials, caSet, crlNumber, lastContact, speaks, ...abilities, ...seen };
};

const recordOf = (row: AgentRow, pins: readonly PinRow[]): AgentRecord => ({
  name: row.name,
  endpoint: row.endpoint,
  pins: pins.map(pinOf),
  pairing: row.pairing,
  pairedAt: row.paired_at,
  tags: row.tags,
  standing: standingOf(row.standing),
  ...(row.adopted === 1 && { adopted: true as const }),
});

/** A query for agents, by name. */
export const agentsWhere = (tx: Transaction) => tx.query.selectFrom('agents').selectAll().orderBy('name');

type Agents = ReturnType<typeof agentsWhere>;

/** Of these agents or of all: the active one, that of a renewal, that of a pairing, as far as there are such. */
export const readPins = (
  tx: Transaction,
  of?: Agents,
): Result<ReadonlyMap<string, readonly PinRow[]>, StoreFailed> => {
  const all = tx.query
    .selectFrom('pins')
    .selectAll()
    .orderBy('name')
    .orderBy('state')
    .orderBy('renewal', 'desc');
  const query = of ? all.where('name', 'in', of.clearSelect().select('name')) : all;
  return tx.rows(query, isPinRow, pinJson).map((rows) => {
    const byName = new Map<string, PinRow[]>();
    for (const row of rows) {
      const pins = byName.get(row.name);
      if (pins === undefined) byName.set(row.name, [row]);
      else pins.push(row);
    }
    return byName;
  });
};

export const readRecords = (tx: Transaction, of?: Agents): Result<readonly AgentRecord[], StoreFailed> =>
  safeTry(function* () {
    const agents = yield* tx.rows(of ?? agentsWhere(tx), isAgentRow, ['endpoint', 'tags', 'standing']);
    const pins = yield* readPins(tx, of);
    const records = agents.map((row) => recordOf(row, pins.get(row.name) ?? []));
    // Only an agent that was taken over can be without a pin.
    const whole = records.every((record) => record.pins.length > 0 || record.adopted);
    return whole ? ok(records) : err(tx.damaged());
  });

export const agentNamed = (tx: Transaction, name: string): Agents => agentsWhere(tx).where('name', '=', name);

export const readRecord = (tx: Transaction, name: string): Result<AgentRecord | undefined, StoreFailed> =>
  readRecords(tx, agentNamed(tx, name)).map(([record]) => record);

/** The name that has a pin for the key. */
export const nameWithKey = (tx: Transaction, spkiSha256: string): Result<string | undefined, StoreFailed> =>
  tx
    .rows(
      tx.query.selectFrom('pins').select('name').where('spki_sha256', '=', spkiSha256).limit(1),
      shape<{ name: string }>({ name: text }, {}),
    )
    .map(([row]) => row?.name);
