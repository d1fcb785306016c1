import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { fileKeyStore } from '../../../src/adapters/files/identity/key-store.js';
import { nodeCrypto } from '../../../src/adapters/node-crypto/crypto.js';
import { systemRandom } from '../../../src/adapters/node-crypto/random.js';
import { openSqliteStores } from '../../../src/adapters/sql/sqlite/stores.js';
import { x509CertificateAuthority } from '../../../src/adapters/x509/certificate-authority.js';
import {
  type Dispatcher,
  type HostResult,
  openDispatcher,
  type SerialStatus,
} from '../../../src/apps/library/index.js';
import type { Credentials } from '../../../src/ports/channel.js';
import type { KeyStore, KeyStoreItem } from '../../../src/ports/key-store.js';
import { value } from '../../contract/result.js';
import {
  type AgentOnDisk,
  atEnd,
  type DispatcherOnDisk,
  dispatcherOnDisk,
  type Started,
} from '../commands/commands.js';

export const day = 86_400_000;

/** The serial of the certificate in a file, canonical. */
export const serialIn = (...path: readonly string[]): string =>
  new X509Certificate(readFileSync(join(...path))).serialNumber.toLowerCase().replace(/^0+/, '');

/** The serials that an agent trusts, by its file. */
export const trustedBy = ({ home }: { home: string }): readonly string[] =>
  readFileSync(join(home, 'state/ctrl-exec-dispatchers'), 'utf8')
    .split('\n')
    .flatMap((line) => /^([0-9a-f]+) /.exec(line)?.[1] ?? []);

/** `serial-status --json`. */
export interface SerialStatusJson {
  readonly ok: 1;
  readonly current: string;
  readonly expiry: string;
  readonly next: string | null;
  readonly previous: string | null;
  readonly overlap_ends: string | null;
  readonly agents: readonly {
    readonly name: string;
    readonly state: 'current' | 'pending' | 'stale';
    readonly serials: readonly string[];
    readonly last_contact: string | null;
  }[];
}

export async function serialStatus(control: DispatcherOnDisk): Promise<SerialStatusJson> {
  const ended = await control.command('serial-status', '--json');
  if (ended.code !== 0) throw new Error(`exit ${ended.code}: ${ended.stderr}`);
  return JSON.parse(ended.stdout);
}

/** How each agent stands to the dispatcher's serials. */
export const standings = ({
  agents,
}: Pick<SerialStatusJson | SerialStatus, 'agents'>): Readonly<Record<string, string>> =>
  Object.fromEntries(agents.map(({ name, state }) => [name, state]));

/** Runs a script on one agent by the library. */
export async function ran(library: Dispatcher, host: string, script: string): Promise<HostResult> {
  const [result] = value(await library.run({ hosts: [host], script })).results;
  if (!result) throw new Error('no result');
  return result;
}

/** As if the last rotation had been so many days earlier. */
export function backdateSwitch({ home }: DispatcherOnDisk, days: number): void {
  const file = join(home, 'state/successions.json');
  const rotation = JSON.parse(readFileSync(file, 'utf8'));
  expect(rotation.switched_at).toBeTypeOf('number');
  writeFileSync(file, JSON.stringify({ ...rotation, switched_at: rotation.switched_at - days * day }));
}

const fileNames: Record<KeyStoreItem, string> = {
  'ca-key': 'ca.key',
  'ca-certificate': 'ca.crt',
  'ca-previous-key': 'ca-previous.key',
  'dispatcher-key': 'ctrl-exec.key',
  'dispatcher-certificate': 'ctrl-exec.crt',
  'dispatcher-next-key': 'ctrl-exec-next.key',
  'dispatcher-next-certificate': 'ctrl-exec-next.crt',
  'dispatcher-previous-key': 'ctrl-exec-previous.key',
  'dispatcher-previous-certificate': 'ctrl-exec-previous.crt',
  rotation: 'state/successions.json',
  'pairing-key': 'pairing.key',
  'pairing-certificate': 'pairing.crt',
  'agent-key': 'agent.key',
  'agent-certificate': 'agent.crt',
  'trusted-dispatchers': 'state/ctrl-exec-dispatchers',
  'dispatcher-certificates': 'state/dispatcher-certificates.pem',
  'trust-origins': 'state/trust-origins',
  'signing-dispatchers': 'state/signing-dispatchers',
  'agent-revocation-lists': 'state/crl.pem',
  'revoked-serials': 'revoked-serials',
  'refused-serials': 'state/refused-serials',
};

/** The key store of a dispatcher or an agent in its home. */
const keyStoreIn = (home: string): KeyStore => {
  const paths = { ...fileNames };
  for (const item of Object.keys(paths) as KeyStoreItem[]) paths[item] = join(home, fileNames[item]);
  return fileKeyStore({ paths, journal: join(home, 'state/identity.journal') });
};

/** A certificate of the dispatcher's CA in an agent's name, over a fresh key, valid from and until so many days from now. */
export async function issuedFor(
  control: DispatcherOnDisk,
  name: string,
  { from, until }: { from: number; until: number },
): Promise<Credentials & { readonly spkiSha256: string; readonly serial: string }> {
  const crypto = nodeCrypto();
  const authority = x509CertificateAuthority({
    keyStore: keyStoreIn(control.home),
    random: systemRandom(),
    crypto,
  });
  const key = value(await crypto.generateKey('p256'));
  const { spki } = value(crypto.signingKey(key));
  const validity = { notBefore: Date.now() + from * day, notAfter: Date.now() + until * day };
  const issued = value(await authority.issue({ kind: 'agent', name }, spki, validity));
  const spkiSha256 = Buffer.from(crypto.sha256(spki)).toString('hex');
  return { key, certificate: issued.pem, serial: issued.serial, spkiSha256 };
}

/**
 * As if the agent's certificate had been issued so many days ago: in the agent's files, and known to the dispatcher. An
 * agent that serves has to reload.
 */
export async function aged(
  control: DispatcherOnDisk,
  agent: AgentOnDisk,
  period: { from: number; until: number },
): Promise<{ readonly serial: string }> {
  const { key, certificate, serial, spkiSha256 } = await issuedFor(control, agent.name, period);
  const installed = await keyStoreIn(agent.home).replace({
    'agent-key': key,
    'agent-certificate': certificate,
  });
  value(installed);
  const state = join(control.home, 'state');
  const opened = await openSqliteStores({
    path: join(state, 'ctrl-exec.db'),
    sessionsDirectory: join(state, 'locks'),
  });
  const { registry, close } = value(opened);
  const now = Date.now();
  const pin = {
    spkiSha256,
    serial,
    issuedAt: now + period.from * day,
    notAfter: now + period.until * day,
    renewal: true as const,
  };
  const noted = await registry
    .renew(agent.name, pin)
    .andThen(() => registry.activate(agent.name, spkiSha256));
  await close();
  value(noted);
  return { serial };
}

/** What an agent's identity is at the moment, by its files. */
export const identityOf = ({ home }: AgentOnDisk) => {
  const certificate = new X509Certificate(readFileSync(join(home, 'agent.crt')));
  return {
    serial: serialIn(home, 'agent.crt'),
    key: readFileSync(join(home, 'agent.key'), 'utf8'),
    notAfter: Date.parse(certificate.validTo),
  };
};

/** Agents that serve, or do not for a time. */
export interface LifecycleFleet {
  readonly control: DispatcherOnDisk;
  /** The same dispatcher in this process, with connections that it keeps: quicker than a command for each question. */
  readonly library: Dispatcher;
  agent(name: string): AgentOnDisk;
  /** The daemon of an agent, started if it does not serve. */
  up(name: string): Promise<Started>;
  /** Ends the daemon. */
  down(name: string, signal?: NodeJS.Signals): Promise<void>;
  /** A further agent, paired now. */
  add(name: string): Promise<AgentOnDisk>;
  /** How often the script `count` has run on an agent. */
  counted(name: string): number;
}

/** A dispatcher and paired agents with the scripts `hello` and `count`. Tests may stop them, and must not rely on that another has started them. */
export async function lifecycleFleet(names: readonly string[], conf = ''): Promise<LifecycleFleet> {
  const control = await dispatcherOnDisk(conf);
  const library = await openDispatcher({ home: control.home });
  atEnd(() => library.close());
  const agents = new Map<string, AgentOnDisk>();
  const daemons = new Map<string, Started>();
  const fleet: LifecycleFleet = {
    control,
    library,
    agent: (name) => {
      const found = agents.get(name);
      if (!found) throw new Error(`no agent ${name}`);
      return found;
    },
    async up(name) {
      const serving = daemons.get(name);
      if (serving && serving.child.exitCode === null && serving.child.signalCode === null) return serving;
      const daemon = await fleet.agent(name).serve();
      daemons.set(name, daemon);
      return daemon;
    },
    async down(name, signal) {
      await daemons.get(name)?.stop(signal);
      daemons.delete(name);
    },
    async add(name) {
      const agent = await control.pairAgent(name);
      agent.script('hello', '#!/bin/sh\necho hello\n');
      agent.script('count', `#!/bin/sh\nprintf x >> ${agent.home}/counted\necho counted\n`);
      agents.set(name, agent);
      return agent;
    },
    counted: (name) => {
      const file = join(fleet.agent(name).home, 'counted');
      return existsSync(file) ? readFileSync(file, 'utf8').length : 0;
    },
  };
  for (const name of names) await fleet.add(name);
  return fleet;
}

/** As `lifecycleFleet`, and every agent serves. */
export async function servingFleet(names: readonly string[], conf = ''): Promise<LifecycleFleet> {
  const fleet = await lifecycleFleet(names, conf);
  await Promise.all(names.map((name) => fleet.up(name)));
  return fleet;
}
