import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { atEnd } from '../commands/commands.js';
import { type LegacyIdentity, legacyCsr, legacySerial, pooledRsaKey } from './ca.js';
import { legacyTrust } from './trust.js';
import { type LegacyVersion, legacyTraits } from './versions.js';

export interface LegacyPairingOptions {
  readonly version: LegacyVersion;
  readonly host: string;
  readonly port: number;
  /** Stands for `/`: below it `etc/ctrl-exec-agent` and `var/lib/ctrl-exec-agent` are written. */
  readonly root: string;
  /** Default `vm`. */
  readonly hostName?: string;
  /** `--lookup-by`, from 0.9 on. Default: not sent. */
  readonly lookupBy?: 'hostname' | 'ip';
  /** Default: one of the pool, the same for every pairing of this host name. */
  readonly key?: string;
  readonly bits?: 4096 | 2048;
}

/** How a pairing ended. */
type LegacyPairingOutcome =
  | { readonly status: 'paired'; readonly identity: LegacyIdentity; readonly trusted: readonly string[] }
  | { readonly status: 'failed'; readonly reason: string };

/** A request that the dispatcher has taken into its queue. */
interface LegacyPairingRequest {
  readonly reqid: string;
  /** Six digits, shown on both hosts. */
  readonly code: string;
  readonly csr: string;
  /** Resolves when the second answer has come, or the connection has ended. */
  readonly outcome: Promise<LegacyPairingOutcome>;
}

type Message = Readonly<Record<string, unknown>>;

/** The code of wire-protocol 1.5, over the CSR's bytes as sent. */
export function legacyPairingCode(csr: string): string {
  const number = createHash('sha256').update(csr).digest().readUInt32BE(0) % 1_000_000;
  return String(number).padStart(6, '0');
}

/** Reads a connection by lines and by counted bytes. */
function reader(socket: Socket) {
  let bytes = Buffer.alloc(0);
  let ended = false;
  let wake = () => {};
  socket.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    wake();
  });
  socket.once('close', () => {
    ended = true;
    wake();
  });
  /** Waits until `length` says how many bytes to take; undefined when the connection ends before. */
  const take = async (length: () => number | undefined): Promise<Buffer | undefined> => {
    for (;;) {
      const size = length();
      if (size !== undefined && bytes.length >= size) {
        const taken = bytes.subarray(0, size);
        bytes = bytes.subarray(size);
        return taken;
      }
      if (ended) return undefined;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  return {
    async line(): Promise<string | undefined> {
      const taken = await take(() => bytes.indexOf(0x0a) + 1 || undefined);
      return taken?.toString('latin1').replace(/\r?\n$/, '');
    },
    exactly: (length: number) => take(() => length),
  };
}

/**
 * The body of an answer whose lines are read up to the first empty one and not looked at, except for `Content-Length`, which
 * must be there (legacy facts 4).
 */
async function bodyAfterLines(from: ReturnType<typeof reader>, what: string): Promise<Message> {
  let length: number | undefined;
  for (let line = await from.line(); line; line = await from.line()) {
    const [, digits] = /^content-length:\s*(\d+)/i.exec(line) ?? [];
    if (digits !== undefined) length = Number(digits);
  }
  if (length === undefined) throw new Error(`no Content-Length in pairing ${what}`);
  const body = await from.exactly(length);
  if (!body) throw new Error(`connection closed within the pairing ${what}`);
  return JSON.parse(body.toString()) as Message;
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '');

/** Writes what the real one writes, unverified; the running agent is not told. */
function install(
  { version, root }: LegacyPairingOptions,
  key: string,
  approval: Message,
): LegacyPairingOutcome {
  const [certificate, ca] = [text(approval['cert']), text(approval['ca'])];
  if (certificate === '' || ca === '') return { status: 'failed', reason: 'incomplete approval' };
  const etc = join(root, 'etc/ctrl-exec-agent');
  const lib = join(root, 'var/lib/ctrl-exec-agent');
  mkdirSync(etc, { recursive: true, mode: 0o750 });
  mkdirSync(lib, { recursive: true, mode: 0o750 });
  writeFileSync(join(etc, 'agent.crt'), certificate, { mode: 0o640 });
  writeFileSync(join(etc, 'agent.key'), key, { mode: 0o640 });
  writeFileSync(join(etc, 'ca.crt'), ca, { mode: 0o644 });
  const identity = { key, certificate, ca, serial: legacySerial(certificate) };
  const serial = text(approval['dispatcher_serial']);
  if (serial === '') return { status: 'paired', identity, trusted: [] };

  const { dispatcherIds } = legacyTraits[version];
  const file = dispatcherIds ? join(lib, 'ctrl-exec-dispatchers') : join(etc, 'ctrl-exec-serial');
  const trust = legacyTrust(version, dispatcherIds ? linesOf(file) : []);
  trust.assign(serial, text(approval['dispatcher_id']) || serial);
  const heading = dispatcherIds ? ['# dispatchers that this agent trusts', '# <serial> <id>'] : [];
  writeFileSync(file, `${[...heading, ...trust.lines()].join('\n')}\n`, { mode: 0o644 });
  return { status: 'paired', identity, trusted: trust.lines() };
}

function linesOf(file: string): readonly string[] {
  try {
    return readFileSync(file, 'utf8').split('\n');
  } catch {
    return [];
  }
}

/** From 0.9 on: looks whether the port is open, without a byte of TLS. */
const preflight = (host: string, port: number): Promise<void> =>
  new Promise((resolve, reject) => {
    const socket = connectTcp({ host, port, family: 4 });
    socket.once('error', reject);
    socket.once('connect', () => socket.end());
    socket.once('close', () => resolve());
  });

async function decided(
  from: ReturnType<typeof reader>,
  nonce: string,
  installed: (approval: Message) => LegacyPairingOutcome,
): Promise<LegacyPairingOutcome> {
  try {
    const message = await bodyAfterLines(from, 'result');
    if (message['status'] !== 'approved')
      return { status: 'failed', reason: text(message['reason']) || 'denied' };
    if (message['nonce'] !== nonce) return { status: 'failed', reason: 'nonce mismatch' };
    return installed(message);
  } catch (error) {
    return { status: 'failed', reason: String(error instanceof Error ? error.message : error) };
  }
}

/**
 * Pairs as a legacy agent does (legacy facts 4, captures/agent-pair.http): the server is not verified, two answers are read on
 * one connection, and an approval is installed as it comes.
 * Rejects where the first answer is none or a refusal, with its reason.
 */
export async function requestLegacyPairing(options: LegacyPairingOptions): Promise<LegacyPairingRequest> {
  const { version, host, port, hostName = 'vm', bits = 4096 } = options;
  const late = legacyTraits[version].preflight;
  if (late) await preflight(host, port);
  const key = options.key ?? (await pooledRsaKey(`paired/${hostName}`, bits));
  const csr = legacyCsr(key, hostName);
  const nonce = randomBytes(16).toString('hex');

  const socket = connect({
    host,
    port,
    rejectUnauthorized: false,
    ...(isIP(host) ? {} : { servername: host }),
  });
  atEnd(() => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    socket.once('error', reject);
    socket.once('secureConnect', resolve);
  });
  socket.on('error', () => {});
  const told = late
    ? {
        port: '7443',
        ip: socket.localAddress,
        ...(options.lookupBy ? { lookup_by: options.lookupBy } : {}),
      }
    : {};
  const body = Buffer.from(JSON.stringify({ hostname: hostName, nonce, csr, ...told }));
  const head = [
    'POST /pair HTTP/1.0',
    'Content-Type: application/json',
    `Content-Length: ${body.length}`,
    '',
    '',
  ].join('\r\n');
  const from = reader(socket);
  socket.write(Buffer.concat([Buffer.from(head), body]));

  // The status line may say anything.
  if (!(await from.line())) throw new Error('no answer from the pairing port');
  const first = await bodyAfterLines(from, 'acknowledgement');
  if (first['status'] === 'error') throw new Error(text(first['reason']));
  const reqid = text(first['reqid']);
  if (first['status'] !== 'pending' || reqid === '') throw new Error('unexpected acknowledgement');
  const outcome = decided(from, nonce, (approval) => install(options, key, approval)).finally(() =>
    socket.destroy(),
  );
  return { reqid, code: legacyPairingCode(csr), csr, outcome };
}
