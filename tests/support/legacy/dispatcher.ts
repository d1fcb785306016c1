import { randomBytes, X509Certificate } from 'node:crypto';
import { type LegacyCa, type LegacyIdentity, pooledRsaKey, whyNotSigned } from './ca.js';
import { type LwpAnswer, type LwpRequest, lwpAsk } from './lwp.js';
import { type LegacyVersion, legacyTraits, normalSerial } from './versions.js';

export interface LegacyDispatcherOptions {
  readonly version: LegacyVersion;
  readonly identity: LegacyIdentity;
  /** Signs renewals and rotations; without it neither is tried. */
  readonly ca?: LegacyCa;
  /** Default `control`. 0.8 has none. */
  readonly dispatcherId?: string;
  /** Of the key of a rotation, one for each. Default 4096. */
  readonly bits?: 4096 | 2048;
}

/** What an operation gave: the members of the agent's answer, or the reason in `error`. */
export type LegacyOutcome = Readonly<Record<string, unknown>>;

/** An agent as the registry knows it; the real one dials port 7443 when it rotates. */
export interface LegacyTarget {
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

export interface LegacyRunRequest {
  readonly script: string;
  readonly args?: readonly string[];
  readonly async?: boolean;
  /** Default random, 16 hex digits. */
  readonly reqid?: string;
  readonly username?: string;
  readonly token?: string;
  /** The command line sends what is no ASCII encoded as UTF-8 twice, the API does not. Default `cli`. */
  readonly via?: 'cli' | 'api';
}

/** Bytes of JSON that a child may pass on before the parent, which does not read yet, blocks it (legacy facts 6). */
const pipe = 65_536;

const newReqid = () => randomBytes(8).toString('hex');
const json = (value: unknown) => Buffer.from(JSON.stringify(value));

function objectOf(body: Buffer): LegacyOutcome | undefined {
  try {
    const value: unknown = JSON.parse(body.toString());
    return typeof value === 'object' && value !== null ? (value as LegacyOutcome) : undefined;
  } catch {
    return undefined;
  }
}

/** What an answer other than 2xx is called. */
function failureOf({ status, line, body }: LwpAnswer): string {
  if (status === 403) return `forbidden: ${objectOf(body)?.['error'] ?? ''}`;
  if (status === 413) return 'request too large';
  return line;
}

const isFine = ({ status }: LwpAnswer) => status >= 200 && status < 300;

/** Hands a result to the parent: throws where the real dispatcher would wait for ever. */
function throughPipe(result: LegacyOutcome): LegacyOutcome {
  const size = json(result).length;
  if (size > pipe)
    throw new Error(`a legacy dispatcher hangs for ever: a result of ${size} bytes, a pipe holds ${pipe}`);
  return result;
}

/**
 * A simulated legacy dispatcher: what LWP sends and what the dispatcher makes of the answer (legacy facts 6 to 8).
 */
export function legacyDispatcher(options: LegacyDispatcherOptions) {
  const { version, ca, dispatcherId = 'control', bits = 4096 } = options;
  const { rotateRoute, renewal, dispatcherIds } = legacyTraits[version];
  let identity = options.identity;
  let rotations = 0;

  const ask = (host: string, port: number, request: LwpRequest) => lwpAsk(identity, host, port, request);
  const post = (host: string, port: number, path: string, body: unknown) =>
    ask(host, port, { method: 'POST', path, body: json(body) });

  /** An agent's answer with what an operation fails with, where it is none. */
  const outcomeOf = (answer: LwpAnswer, failed: LegacyOutcome, noJson: string): LegacyOutcome => {
    if (!isFine(answer)) return { ...failed, error: failureOf(answer) };
    const value = objectOf(answer.body);
    if (Array.isArray(value)) return { ...failed, error: 'no response from child' };
    return value ?? { ...failed, error: noJson };
  };

  async function run(host: string, port: number, request: LegacyRunRequest): Promise<LegacyOutcome> {
    const { script, args = [], reqid = newReqid(), username = '', token = '', via = 'cli' } = request;
    const sent = via === 'api' ? args : args.map((text) => Buffer.from(text).toString('latin1'));
    const async = request.async ? { async: true } : {};
    const answer = await post(host, port, '/run', { args: sent, username, token, script, reqid, ...async });
    if (request.async) {
      if (answer.status === 409) return { status: 'busy', reqid };
      const value = outcomeOf(answer, { status: 'error', reqid }, 'invalid JSON response');
      if (value['status'] === 'accepted' || value['status'] === 'error') return { reqid, ...value };
      return { status: 'error', reqid, error: value['error'] ?? 'submit failed' };
    }
    const failed = { exit: -1, reqid };
    return throughPipe({ reqid, exit: -1, ...outcomeOf(answer, failed, 'invalid JSON response') });
  }

  /** Asks for a CSR, signs it and hands the certificate over. Only the status of the last answer is looked at. */
  async function renew(host: string, port: number, name: string): Promise<LegacyOutcome> {
    if (!ca) throw new Error('this dispatcher has no CA');
    const reqid = newReqid();
    const asked = await post(host, port, '/renew', { reqid });
    if (!isFine(asked)) return { status: 'error', error: failureOf(asked) };
    const csr = objectOf(asked.body)?.['csr'];
    if (typeof csr !== 'string' || csr === '') return { status: 'error', error: 'no CSR in renew response' };
    const refused = renewal ? whyNotSigned(csr, name) : undefined;
    if (refused !== undefined) return { status: 'error', error: refused };
    const { certificate } = ca.sign(csr, 365);
    const completed = await post(host, port, '/renew-complete', { cert: certificate, ca: ca.pem, reqid });
    if (!isFine(completed)) return { status: 'error', error: failureOf(completed) };
    return { status: 'ok', certificate, answer: objectOf(completed.body) };
  }

  /** Pings; before 0.12 a ping renews a certificate that has less than half of a year left. */
  async function ping(host: string, port: number, name = host): Promise<LegacyOutcome> {
    const answer = await post(host, port, '/ping', { reqid: newReqid() });
    const result = outcomeOf(answer, { status: 'error' }, 'invalid JSON');
    const left = Date.parse(String(result['expiry'])) - Date.now();
    if (ca && !renewal && result['status'] === 'ok' && left < 182 * 86_400_000)
      return { ...result, renewed: await renew(host, port, name) };
    return result;
  }

  async function capabilities(host: string, port: number): Promise<LegacyOutcome> {
    const answer = await ask(host, port, { method: 'GET', path: '/capabilities' });
    return throughPipe(outcomeOf(answer, { status: 'error' }, 'invalid JSON'));
  }

  /** The record of an async run; any status but running, done and unknown leaves the host pending. */
  async function result(host: string, port: number, reqid: string): Promise<LegacyOutcome> {
    const answer = await ask(host, port, { method: 'GET', path: `/result/${reqid}` });
    if (answer.status === 404) return { status: 'unknown' };
    const value = outcomeOf(answer, { status: 'pending' }, 'invalid JSON');
    if (value['status'] === 'running' || value['status'] === 'done') return value;
    return { status: 'pending', fetch_error: value['error'] ?? `status ${value['status']}` };
  }

  /**
   * Tells an agent a serial under the identity that there is: `/rotate-serial` from 0.11 on, with the serial as `normalSerial`
   * makes it, before that the script.
   */
  async function rotateSerial(
    host: string,
    port: number,
    serial: string,
    action: 'add' | 'remove' = 'add',
  ): Promise<LegacyOutcome> {
    if (rotateRoute) {
      const text = renewal ? normalSerial(serial) : serial;
      const answer = await post(host, port, '/rotate-serial', { serial: text, action });
      const value = outcomeOf(answer, { exit: -1 }, 'invalid JSON response');
      return { exit: value['status'] === 'ok' ? 0 : -1, ...value };
    }
    const added = dispatcherIds ? [serial, dispatcherId] : [serial];
    const args = action === 'remove' ? ['--remove', serial] : added;
    return run(host, port, { script: 'update-ctrl-exec-serial', args });
  }

  /**
   * Replaces key and certificate first and then tells the agents under the new identity, as every version does: an agent that
   * trusts only the old serial answers 403 and stays `pending` (legacy facts 7).
   */
  async function rotate(agents: readonly LegacyTarget[]) {
    if (!ca) throw new Error('this dispatcher has no CA');
    rotations += 1;
    const name = new X509Certificate(identity.certificate).subject.replace(/^CN=/, '');
    const key = await pooledRsaKey(`rotation ${rotations}`, bits);
    identity = await ca.issue(name, { key, days: 365 });
    return Promise.all(
      agents.map(async (agent) => {
        const outcome = await rotateSerial(agent.host, agent.port, identity.serial);
        return { name: agent.name, serialStatus: outcome['exit'] === 0 ? 'current' : 'pending', outcome };
      }),
    );
  }

  return {
    version,
    /** Whom it presents itself as now. */
    identity: () => identity,
    ask,
    ping,
    run,
    capabilities,
    result,
    rotateSerial,
    renew,
    rotate,
  };
}
