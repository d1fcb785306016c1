import { err, ok, type Result } from 'neverthrow';
import { type Codec, countIn, isJsonObject, type JsonObject, textIn } from '../core/decode.js';
import { isHostName } from '../core/host-argument.js';
import { printable } from '../core/names.js';

/*
 * What two peers say to each other about the agent itself and whom it trusts (wire-protocol 1.2, 2.4).
 */

/** The words of an acknowledgement, or of an objection in a 200 answer. */
const said = (body: JsonObject, status: 'ok' | 'error'): Result<JsonObject, string> =>
  body['status'] === status ? ok(body) : err('"status" is neither "ok" nor "error"');

/** A request that has nothing but its id, where it has one. */
export interface Identified {
  readonly reqid?: string | undefined;
}

const reqidIn = (body: JsonObject) => textIn(body, 'reqid')?.slice(0, 64);

export const identified: Codec<Identified> = {
  read: (body) => ok({ reqid: reqidIn(body) }),
  write: ({ reqid }) => ({ reqid }),
};

/** No body. */
export const nothing: Codec<object> = { read: () => ok({}), write: () => ({}) };

/** How an agent names itself; empty where that is no host name. */
function hostNameIn(body: JsonObject): string {
  const name = textIn(body, 'host') ?? '';
  return isHostName(name) ? name : '';
}

/** What this version of an agent can do that a legacy one cannot, in the words of the wire. */
export const agentFeatures = ['settle', 'cancel', 'stream', 'crl', 'new-key'] as const;

const maxFeatures = 100;
const maxProblems = 10;
/** Tags and scripts of one agent that are looked at; what is more is left out. */
const maxTags = 200;
const maxScripts = 10_000;

const readFeatures = (value: unknown): readonly string[] =>
  (Array.isArray(value) ? value : [])
    .filter((word: unknown): word is string => typeof word === 'string' && /^[a-z0-9-]{1,64}$/.test(word))
    .slice(0, maxFeatures);

const readProblems = (value: unknown): readonly string[] =>
  (Array.isArray(value) ? value : [])
    .filter((words: unknown): words is string => typeof words === 'string')
    .slice(0, maxProblems)
    .map((words) => printable(words, 200));

export interface Pong extends Identified {
  readonly reportedHostname: string;
  readonly version: string;
  /** notAfter in OpenSSL's text form. */
  readonly expiry: string;
  /** Number of the revocation list that the agent holds; undefined where it does not say. */
  readonly crlNumber?: number | undefined;
  /** A renewed certificate waits for the agent to be restarted; only legacy agents know that. */
  readonly staged: boolean;
  /** What it can do beyond a legacy agent. */
  readonly features: readonly string[];
  /** What is wrong on the host, in the agent's words. */
  readonly problems: readonly string[];
}

export const pong: Codec<Pong> = {
  read: (body) =>
    body['status'] === 'ok'
      ? ok({
          reportedHostname: hostNameIn(body),
          version: printable(textIn(body, 'version') ?? ''),
          expiry: printable(textIn(body, 'expiry') ?? ''),
          crlNumber: countIn(body, 'crl_number'),
          staged: body['staged'] === true || body['staged'] === 1,
          features: readFeatures(body['features']),
          problems: readProblems(body['problems']),
        })
      : err('"status" is not "ok"'),
  write: ({ reportedHostname, version, expiry, staged, features, crlNumber, problems, reqid }) => ({
    status: 'ok',
    host: reportedHostname,
    version,
    expiry,
    staged,
    features,
    ...(crlNumber !== undefined && { crl_number: crlNumber }),
    ...(problems.length > 0 && { problems }),
    ...(reqid !== undefined && { reqid }),
  }),
};

/** One allowlisted script as an agent advertises it. */
export interface AdvertisedScript {
  readonly name: string;
  readonly path: string;
  readonly executable: boolean;
  readonly profile?: string;
  /** The sidecar, verbatim (wire-protocol 1.8). */
  readonly schema?: Readonly<Record<string, unknown>>;
  readonly schema_version?: string;
  /** How many runs of it may go on at a time, where that is more than one. */
  readonly concurrency?: number;
}

export interface Capabilities {
  readonly reportedHostname: string;
  readonly version: string;
  readonly tags: Readonly<Record<string, string>>;
  /** What it can do beyond a legacy agent. */
  readonly features: readonly string[];
  readonly scripts: readonly AdvertisedScript[];
}

export const capabilities: Codec<Capabilities> = {
  read(body) {
    const scripts = body['scripts'];
    if (!Array.isArray(scripts)) return err('"scripts" is not a list');
    return ok({
      reportedHostname: hostNameIn(body),
      version: printable(textIn(body, 'version') ?? ''),
      tags: readTags(body['tags']),
      features: readFeatures(body['features']),
      scripts: scripts.slice(0, maxScripts).flatMap((script: unknown) => readScript(script)),
    });
  },
  write: ({ reportedHostname, version, tags, features, scripts }) => ({
    status: 'ok',
    host: reportedHostname,
    version,
    features,
    tags,
    scripts,
  }),
};

function readTags(value: unknown): Record<string, string> {
  if (!isJsonObject(value)) return {};
  const entries = Object.entries(value).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string',
  );
  return Object.fromEntries(
    entries.slice(0, maxTags).map(([key, tag]) => [printable(key, 128), printable(tag, 1024)]),
  );
}

function readScript(value: unknown): AdvertisedScript[] {
  if (!isJsonObject(value)) return [];
  const name = textIn(value, 'name');
  if (name === undefined || !/^[A-Za-z0-9_-]{1,255}$/.test(name)) return [];
  const profile = textIn(value, 'profile');
  const version = textIn(value, 'schema_version');
  const schema = value['schema'];
  const concurrency = countIn(value, 'concurrency') ?? 1;
  return [
    {
      name,
      path: printable(textIn(value, 'path') ?? '', 4096),
      executable: value['executable'] === true || value['executable'] === 1,
      ...(profile !== undefined && { profile: printable(profile) }),
      ...(isJsonObject(schema) && { schema }),
      ...(version !== undefined && { schema_version: printable(version, 80) }),
      ...(concurrency >= 2 && concurrency <= 1000 && { concurrency }),
    },
  ];
}

/** Why something was not taken, in the agent's words; with the revocation list that is held, where that is the reason. */
export interface Objection {
  readonly error: string;
  readonly held?: { readonly pem: string; readonly number: number } | undefined;
}

export const objection: Codec<Objection> = {
  read(body) {
    const error = textIn(body, 'error');
    if (error === undefined && body['status'] !== 'error') return err('"error" is missing');
    const pem = textIn(body, 'crl_pem');
    const number = countIn(body, 'number') ?? 0;
    return ok({
      error: printable(error ?? 'error', 200),
      ...(pem !== undefined && { held: { pem, number } }),
    });
  },
  write: ({ error, held }) => ({
    status: 'error',
    error,
    ...(held && { crl_pem: held.pem, number: held.number }),
  }),
};

/** An agent that knows no such request. Who has never heard of it may say so in any words. */
export const absence: Codec<Objection> = {
  ...objection,
  read: (body) => ok({ error: printable(textIn(body, 'error') ?? 'HTTP status 404', 200) }),
};

/** Something was taken. What else the answer says is for people who watch the wire. */
export type Acknowledged = Readonly<Record<string, string | number | boolean | undefined>>;

export const acknowledged: Codec<object, Acknowledged> = {
  read: (body) => said(body, 'ok').map(() => ({})),
  write: (more) => ({ status: 'ok', ...more }),
};

/** A serial of the dispatcher that is to be trusted, or no longer. Whoever reads it judges what it holds. */
export interface SerialChange {
  readonly serial: unknown;
  readonly action: unknown;
  /** The certificate, PEM; legacy dispatchers send none. */
  readonly pem?: unknown;
  /** Records that lead from what is trusted to the serial, or to the one that asks. */
  readonly succession?: unknown;
  /** A revocation list that is to be judged with it, PEM. */
  readonly list?: unknown;
}

export const serialChange: Codec<SerialChange> = {
  read: ({ serial, action, pem, succession, crl_pem: list }) => ok({ serial, action, pem, succession, list }),
  write: ({ serial, action, pem, succession, list }) => ({ serial, action, pem, succession, crl_pem: list }),
};

/** A revocation list, PEM. */
export interface ListUpdate {
  readonly pem: string;
}

export const listUpdate: Codec<ListUpdate> = {
  read(body) {
    const pem = textIn(body, 'crl_pem');
    return pem === undefined ? err('crl_pem is missing') : ok({ pem });
  },
  write: ({ pem }) => ({ crl_pem: pem }),
};

/** CAs that an agent accepts at a time. */
const maxCas = 8;

/** The CAs that are to be accepted, PEM, and signatures of CAs that vouch for new ones, base64url. */
export interface CaUpdate {
  readonly pems: readonly string[];
  readonly endorsements: readonly string[];
}

const isText = (value: unknown): value is string => typeof value === 'string';

export const caUpdate: Codec<CaUpdate> = {
  read({ ca_pem: pems, endorsements }) {
    if (!Array.isArray(pems) || pems.length === 0 || pems.length > maxCas || !pems.every(isText))
      return err(`ca_pem is not a list of 1 to ${maxCas} certificates`);
    const given: readonly unknown[] = Array.isArray(endorsements) ? endorsements.slice(0, maxCas) : [];
    return ok({ pems, endorsements: given.filter(isText) });
  },
  write: ({ pems, endorsements }) => ({ ca_pem: pems, ...(endorsements.length > 0 && { endorsements }) }),
};

/** A renewal of the agent's certificate. */
export interface RenewalAsk extends Identified {
  /** Over a fresh key, where the agent can do that. */
  readonly freshKey: boolean;
}

export const renewalAsk: Codec<RenewalAsk> = {
  read: (body) => ok({ reqid: reqidIn(body), freshKey: body['key'] === 'new' }),
  write: ({ reqid, freshKey }) => ({ reqid, ...(freshKey && { key: 'new' }) }),
};

/** The CSR of a renewal, PEM. */
export interface RenewalCsr extends Identified {
  readonly csr: string;
}

export const renewalCsr: Codec<RenewalCsr> = {
  read: (body) => {
    const csr = textIn(body, 'csr');
    return body['status'] === 'ok' && csr !== undefined ? ok({ csr }) : err('"csr" is missing');
  },
  write: ({ csr, reqid }) => ({ status: 'ok', csr, ...(reqid !== undefined && { reqid }) }),
};

/** The certificate of a renewal, and the CAs in force, PEM. */
export interface RenewalEnd extends Identified {
  readonly cert: string;
  readonly ca?: string | undefined;
}

export const renewalEnd: Codec<RenewalEnd> = {
  read(body) {
    const cert = textIn(body, 'cert');
    return cert === undefined
      ? err('cert is not a certificate')
      : ok({ cert, ca: textIn(body, 'ca'), reqid: reqidIn(body) });
  },
  write: ({ reqid, cert, ca }) => ({ reqid, cert, ca }),
};
