import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { lstat, readFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { endianness } from 'node:os';
import { dirname } from 'node:path';
import { accountNumber } from '../../domain/core/file-access.js';
import { faultText } from '../../domain/core/file-trust.js';
import { isLoopback } from '../../domain/core/ip-prefix.js';
import type { CaddyPlace } from '../../ports/caddy-admin.js';
import type { FileSystem } from '../../ports/file-system.js';
import { listenerOwners, listeningAddress, type SocketTables } from './listener-owners.js';

/** Why nothing is sent: the other end belongs to an account that gets no key. */
export class NotTrusted extends Error {
  constructor(place: string, what: string, owner?: number) {
    const line = owner === undefined ? '' : `Add owners = ${owner} to [pull] of agent.conf, or use`;
    super(
      `${place} ${what}: the private key is sent to root and to owners in [pull] only. ${line || 'Use'} mode "file"`,
    );
  }
}

export type Judging = Pick<FileSystem, 'faults'>;

interface Trusted {
  connection(): Socket;
  /** The users at the other end, as far as the system tells. */
  owners(): Promise<readonly number[]>;
}

const unixPath = (api: string): string | undefined => /^unix\/(\/.*)$/.exec(api)?.[1];

/**
 * A connection to whoever may have the private key. The owner of the other end is checked before and after
 * connecting, at the address that is called. An attacker would have to replace the server between the two checks and be gone again.
 */
export async function caddyConnection(
  files: Judging,
  { api, owners }: CaddyPlace,
  signal: AbortSignal,
): Promise<Socket> {
  const passwd = await readFile('/etc/passwd', 'utf8').catch(() => '');
  const trusted = [0, ...owners.flatMap((owner) => accountNumber(passwd, owner) ?? [])];
  const path = unixPath(api);
  const other =
    path === undefined
      ? await listener(api)
      : { connection: () => connect({ path }), owners: () => socketOwners(files, api, path, trusted) };
  const judge = async (isNeeded: boolean) => {
    const found = await other.owners();
    if (found.length === 0 && isNeeded) throw new NotTrusted(api, 'has an owner that this host cannot find');
    const stranger = found.find((uid) => !trusted.includes(uid));
    // defence: pull-caddy-owner
    if (stranger !== undefined) throw new NotTrusted(api, `belongs to user ${stranger}`, stranger);
  };
  await judge(false);
  const socket = other.connection();
  try {
    await once(socket, 'connect', { signal });
    await judge(true);
    return socket;
  } catch (thrown) {
    socket.on('error', () => undefined).destroy();
    throw thrown;
  }
}

/** The owner of a Unix socket that no other account can replace. */
async function socketOwners(
  files: Judging,
  api: string,
  path: string,
  trusted: readonly number[],
): Promise<readonly number[]> {
  const judged = await files.faults(dirname(path), trusted);
  if (judged.isErr()) throw Object.assign(new Error(judged.error.message), { code: judged.error.reason });
  const [fault] = judged.value;
  // defence: pull-caddy-socket-directory
  if (fault !== undefined) throw new NotTrusted(api, `can be replaced by others (${faultText(fault)})`);
  const stats = await lstat(path);
  if (!stats.isSocket()) throw new NotTrusted(api, 'is no socket');
  return [stats.uid];
}

async function listener(api: string): Promise<Trusted> {
  const url = new URL(api);
  const port = Number(url.port || 80);
  const found = await lookup(url.hostname.replace(/^\[(.*)\]$/, '$1'), { all: true });
  const addresses = found.map(({ address }) => address);
  const address = listeningAddress(await socketTables(), addresses, port);
  if (address === undefined || !isLoopback(address)) throw new NotTrusted(api, 'is not on this host');
  return {
    connection: () => connect({ host: address, port }),
    owners: async () => listenerOwners(await socketTables(), address, port),
  };
}

async function socketTables(): Promise<SocketTables> {
  const table = (name: string) => readFile(`/proc/net/${name}`, 'utf8').catch(() => '');
  const [tcp, tcp6] = await Promise.all([table('tcp'), table('tcp6')]);
  return { tcp, tcp6, littleEndian: endianness() === 'LE' };
}
