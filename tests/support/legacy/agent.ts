import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { atEnd } from '../commands/commands.js';
import { acceptOneByOne } from './accept.js';
import type { LegacyIdentity } from './ca.js';
import { type LegacyRequest, legacyAnswer, readLegacyRequest } from './request.js';
import { type LegacyAgentState, promoteStaged, serveLegacy } from './routes.js';
import type { LegacyScript } from './run.js';
import { legacyTrust } from './trust.js';
import { type LegacyVersion, normalSerial } from './versions.js';

export interface LegacyAgentOptions {
  readonly version: LegacyVersion;
  readonly identity: LegacyIdentity;
  /** The lines of its trust file: `02` (0.8), `02 control` (0.9 and later). */
  readonly trusted: readonly string[];
  /** Its allowlist. Default: none. */
  readonly scripts?: ReadonlyMap<string, LegacyScript>;
  /** Default `vm`. */
  readonly hostName?: string;
  readonly tags?: Readonly<Record<string, string>>;
  /** Its `revoked-serials`; digits alone are decimal (legacy facts 3.6). */
  readonly revoked?: readonly string[];
  /** Ten connections of one address in a minute, then nothing for five. Default off. */
  readonly rateLimit?: boolean;
  /** Scripts run through the executor, as the shipped 0.12 configuration has it: Latin-1, and no async. Default false. */
  readonly executor?: boolean;
  /** Something starts the process again whenever it ends. Default false, as systemd's `Restart=on-failure` has it. */
  readonly respawns?: boolean;
  /** Epoch milliseconds, for the rate limit, records and renewal. Default: the system's. */
  readonly now?: () => number;
  /** Default: the system chooses. */
  readonly port?: number;
}

/** What came over one connection, and what was said in answer. */
interface LegacyExchange {
  /** Exactly as they came. */
  readonly bytes: Buffer;
  /** Of the caller's certificate as OpenSSL prints it, in lower case; `''` where it showed none. */
  readonly serial: string;
  /** undefined where it was answered before it was read. */
  readonly request: LegacyRequest | undefined;
  /** Of the answer; undefined: the connection ended without one. */
  readonly status: number | undefined;
}

/** A simulated agent, for as long as the test or the file lasts. */
export interface LegacyAgent {
  readonly port: number;
  /** Everything that was asked, in the order of the answers. */
  readonly exchanges: readonly LegacyExchange[];
  /** How many connections the rate limit has closed. */
  readonly blocked: () => number;
  /** Why the process has ended, undefined while it runs: a handshake failed, or it was told to reload (legacy facts 3.2). */
  readonly stopped: () => string | undefined;
  /** The lines of its trust file as they are now. */
  readonly trusted: () => readonly string[];
  /** Whether it takes this serial (as OpenSSL prints it) for a dispatcher's right now. */
  readonly trusts: (serial: string) => boolean;
  readonly revoke: (serial: string) => void;
  /** The certificate of its next start, PEM. */
  readonly certificate: () => string;
  /** The renewed certificate that waits for a start, PEM. */
  readonly staged: () => string | undefined;
  /** Ends, if it still runs, and starts again on the same port: takes a staged certificate, reads its trust file. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Starts a simulated legacy agent on 127.0.0.1: one handshake at a time, HTTP/1.0, one request a connection, then it closes.
 * A failed handshake or a reload ends it, as it ends the real one. It is closed at the end, whatever happened.
 */
export async function startLegacyAgent(options: LegacyAgentOptions): Promise<LegacyAgent> {
  const { version, hostName = 'vm', tags = {}, scripts = new Map(), now = Date.now } = options;
  const exchanges: LegacyExchange[] = [];
  const revoked = new Set(options.revoked?.map(normalSerial));
  let blocked = 0;
  let stopped: string | undefined;
  let accepting: Awaited<ReturnType<typeof acceptOneByOne>>;

  const state: LegacyAgentState = {
    version,
    hostName,
    scripts,
    tags,
    executor: options.executor ?? false,
    trust: legacyTrust(version, options.trusted),
    runs: new Map(),
    identity: options.identity,
    staged: undefined,
    now,
    hangUp() {
      state.trust.load();
      stop('it was told to reload');
    },
  };

  const stop = (reason: string) => {
    if (options.respawns) return state.trust.load();
    stopped = reason;
    accepting.stop();
  };

  const serve = (socket: TLSSocket, client: X509Certificate | undefined) => {
    const serial = client?.serialNumber.toLowerCase() ?? '';
    let bytes = Buffer.alloc(0);
    let done = false;
    const end = (request: LegacyRequest | undefined, status?: number, body?: unknown) => {
      done = true;
      exchanges.push({ bytes, serial, request, status });
      if (status !== undefined) socket.write(legacyAnswer(status, body, version === '0.8'));
      socket.destroySoon();
    };
    const read = async () => {
      const reading = readLegacyRequest(bytes);
      if (reading.kind === 'more') return;
      done = true;
      if (reading.kind === 'refused') return end(undefined, reading.status, { error: reading.error });
      const answer = await serveLegacy(state, reading.request, serial);
      end(reading.request, answer?.status, answer?.body);
    };
    if (revoked.has(normalSerial(serial))) return end(undefined, 403, { error: 'certificate revoked' });
    socket.on('data', (chunk: Buffer) => {
      bytes = Buffer.concat([bytes, chunk]);
      if (!done) void read();
    });
  };

  const open = async (port: number) => {
    stopped = undefined;
    const { key, certificate, ca } = state.identity;
    accepting = await acceptOneByOne({
      port,
      tls: { key, cert: certificate, ca, requestCert: true },
      limitedBy: options.rateLimit ? now : undefined,
      serve,
      failed: (reason) => stop(`a handshake failed: ${reason}`),
      blocked: () => {
        blocked += 1;
      },
    });
    return accepting.port;
  };

  const port = await open(options.port ?? 0);
  atEnd(() => accepting.close());
  return {
    port,
    exchanges,
    blocked: () => blocked,
    stopped: () => stopped,
    trusted: state.trust.lines,
    trusts: (serial) => state.trust.idOf(serial.toLowerCase()) !== undefined,
    revoke: (serial) => revoked.add(normalSerial(serial)),
    certificate: () => state.identity.certificate,
    staged: () => state.staged,
    async restart() {
      await accepting.close();
      promoteStaged(state);
      state.trust.load();
      await open(port);
    },
    close: () => accepting.close(),
  };
}
