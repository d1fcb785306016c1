import { X509Certificate } from 'node:crypto';
import { type LegacyIdentity, legacyCsr } from './ca.js';
import type { LegacyRequest } from './request.js';
import { type LegacyRun, type LegacyScript, legacyRun } from './run.js';
import type { LegacyTrust } from './trust.js';
import { type LegacyVersion, legacyTraits } from './versions.js';

/** What an agent holds on disk and in memory. */
export interface LegacyAgentState {
  readonly version: LegacyVersion;
  readonly hostName: string;
  readonly scripts: ReadonlyMap<string, LegacyScript>;
  readonly tags: Readonly<Record<string, string>>;
  readonly executor: boolean;
  readonly trust: LegacyTrust;
  readonly runs: Map<string, LegacyRun>;
  identity: LegacyIdentity;
  /** A renewed certificate, PEM, that waits for the next start. */
  staged: string | undefined;
  readonly now: () => number;
  /** SIGHUP to the parent process. */
  hangUp(): void;
}

/** undefined: the process that serves the request dies, and the connection ends without an answer. */
export type LegacyAnswer =
  | { readonly status: number; readonly body: Readonly<Record<string, unknown>> }
  | undefined;

/** A body: an object, also for `null`; undefined where it is no JSON; `dies` for JSON of another kind (legacy facts 3.5). */
export type LegacyBody = Readonly<Record<string, unknown>> | undefined | 'dies';

function bodyOf({ body }: LegacyRequest): LegacyBody {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    if (value === null) return {};
    return typeof value === 'object' && !Array.isArray(value) ? (value as LegacyBody) : 'dies';
  } catch {
    return undefined;
  }
}

const ok = (body: Readonly<Record<string, unknown>>): LegacyAnswer => ({ status: 200, body });
const wrong = (error: string): LegacyAnswer => ok({ status: 'error', error });

/** A date as OpenSSL writes it: `Jun  7 16:28:00 2027 GMT`. Node hands out that very text. */
const expiryOf = (pem: string): string => new X509Certificate(pem).validTo;

function ping(state: LegacyAgentState, body: LegacyBody): LegacyAnswer {
  if (body === 'dies') return undefined;
  const { reported, renewal } = legacyTraits[state.version];
  return ok({
    status: 'ok',
    host: state.hostName,
    version: reported,
    expiry: expiryOf(state.identity.certificate),
    ...(renewal ? { staged: state.staged !== undefined } : {}),
    reqid: body?.['reqid'] ?? '',
  });
}

function capabilities(state: LegacyAgentState): LegacyAnswer {
  const { reported, profiles } = legacyTraits[state.version];
  const scripts = [...state.scripts.keys()].sort().map((name) => ({
    name,
    path: `/opt/ctrl-exec-scripts/${name}.sh`,
    executable: true,
    ...(profiles ? { profile: 'default' } : {}),
  }));
  return ok({ status: 'ok', host: state.hostName, version: reported, scripts, tags: state.tags });
}

function rotateSerial(state: LegacyAgentState, body: LegacyBody, callerId: string): LegacyAnswer {
  if (body === 'dies') return undefined;
  const { serial, action = 'add' } = body ?? {};
  if (typeof serial !== 'string' || serial === '') return wrong('serial required');
  if (action !== 'add' && action !== 'remove') return wrong(`invalid action '${action}'`);
  if (action === 'add') state.trust.assign(serial, callerId);
  else if (state.trust.remove(serial, callerId) !== undefined)
    return wrong(`serial not owned by '${callerId}'`);
  state.hangUp();
  return ok({ status: 'ok', action, serial, dispatcher: callerId });
}

function renew(state: LegacyAgentState, body: LegacyBody): LegacyAnswer {
  if (body === 'dies') return undefined;
  const csr = legacyCsr(state.identity.key, state.hostName);
  return ok({ status: 'ok', csr, reqid: body?.['reqid'] ?? '' });
}

/** Why a certificate cannot take the place of the one there is: another key, another CA, or out of date. */
function whyNotStaged({ identity, now }: LegacyAgentState, pem: string): string | undefined {
  const unverified = 'renewed cert does not verify against the agent CA';
  try {
    const certificate = new X509Certificate(pem);
    const ca = new X509Certificate(identity.ca);
    const current = Date.parse(certificate.validFrom) <= now() && now() <= Date.parse(certificate.validTo);
    if (!current || !certificate.checkIssued(ca) || !certificate.verify(ca.publicKey)) return unverified;
    const former = new X509Certificate(identity.certificate).publicKey;
    return certificate.publicKey.equals(former)
      ? undefined
      : 'renewed cert public key does not match the agent key';
  } catch {
    return unverified;
  }
}

/** `ca` in the body is ignored (legacy facts 3.5). */
function renewComplete(state: LegacyAgentState, body: LegacyBody): LegacyAnswer {
  if (body === 'dies') return undefined;
  const { cert, reqid = '' } = body ?? {};
  if (typeof cert !== 'string' || cert === '') return wrong('cert required');
  const reason = whyNotStaged(state, cert);
  if (reason !== undefined) return wrong(reason);
  state.staged = cert;
  return ok({ status: 'ok', reqid, staged: true });
}

/** At a start, a staged certificate is judged once more and takes its place; one that is not good is dropped (legacy facts 8). */
export function promoteStaged(state: LegacyAgentState): void {
  const { staged } = state;
  if (staged !== undefined && whyNotStaged(state, staged) === undefined)
    state.identity = { ...state.identity, certificate: staged };
  state.staged = undefined;
}

function result(state: LegacyAgentState, reqid: string, callerId: string): LegacyAnswer {
  const record = state.runs.get(reqid);
  if (!record || record['owner'] !== callerId) return { status: 404, body: { status: 'unknown', reqid } };
  return ok(record);
}

/**
 * Answers one request (legacy facts 3.5).
 * @param serial of the client's certificate as OpenSSL prints it, in lower case; `''` where it showed none
 */
export async function serveLegacy(
  state: LegacyAgentState,
  request: LegacyRequest,
  serial: string,
): Promise<LegacyAnswer> {
  const { rotateRoute, renewal, async } = legacyTraits[state.version];
  const { trust } = state;
  const callerId = trust.idOf(serial);
  const mismatch: LegacyAnswer = { status: 403, body: { error: 'serial mismatch', status: 'forbidden' } };
  const trusted = async (work: (id: string) => LegacyAnswer | Promise<LegacyAnswer>) =>
    callerId === undefined ? mismatch : work(callerId);
  const reqid = /^GET \/result\/([A-Za-z0-9_-]+)$/.exec(`${request.method} ${request.path}`)?.[1];

  switch (`${request.method} ${request.path}`) {
    case 'POST /run':
      return trusted((id) => legacyRun(state, bodyOf(request), id));
    case 'POST /ping':
      return trusted(() => ping(state, bodyOf(request)));
    case 'GET /capabilities':
      // Until 0.11, who trusts nobody tells everybody.
      if (callerId !== undefined || (trust.empty() && !renewal)) return capabilities(state);
      return { status: 403, body: { error: 'forbidden' } };
    case 'POST /rotate-serial':
      if (rotateRoute) return trusted((id) => rotateSerial(state, bodyOf(request), id));
      break;
    // Whoever asks: without a look at the serial, even without a certificate.
    case 'POST /renew':
      if (renewal) return renew(state, bodyOf(request));
      break;
    case 'POST /renew-complete':
      if (renewal) return renewComplete(state, bodyOf(request));
      break;
    default:
      if (async && reqid !== undefined) return trusted((id) => result(state, reqid, id));
  }
  return { status: 404, body: { error: 'not found' } };
}
