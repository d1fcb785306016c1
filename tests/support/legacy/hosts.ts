import { X509Certificate } from 'node:crypto';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type LegacyCa, type LegacyIdentity, legacyCa } from './ca.js';
import { type LegacyVersion, normalSerial } from './versions.js';

interface LegacyHostOptions {
  readonly version: LegacyVersion;
  /**
   * `split`: `DIR/etc/ctrl-exec` and `DIR/var/lib/ctrl-exec`, as it is installed; `together`: everything in `DIR`. Default: split.
   */
  readonly layout?: 'split' | 'together';
  /** Whether the configuration names its files under `/etc`, as it is installed, or where they lie here. Default: under `/etc`. */
  readonly names?: 'installed' | 'here';
}

interface LegacyControlHostOptions extends LegacyHostOptions {
  /** Default 3; certificates that are issued have version 1 in any case. */
  readonly caVersion?: 1 | 3;
  /** PKCS#1, as OpenSSL 1.1.1 wrote it. Default: PKCS#8. */
  readonly caKeyForm?: 'pkcs1' | 'pkcs8';
  /** Appended to `ctrl-exec.conf`. */
  readonly conf?: string;
  /** Default `control.example.com`. */
  readonly dispatcherId?: string;
}

export interface LegacyControlHost {
  readonly version: LegacyVersion;
  /** Where configuration and keys are: what `import-state` is given. */
  readonly directory: string;
  readonly state: string;
  readonly ca: LegacyCa;
  readonly dispatcher: LegacyIdentity;
  readonly dispatcherId: string;
  /** Writes a record into the registry; `fields` replace what is usual. */
  register(name: string, fields?: Readonly<Record<string, unknown>>): string;
}

const write = (path: string, text: string, mode: number): void => {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
  chmodSync(path, mode);
};

const placesOf = (root: string, layout: LegacyHostOptions['layout'], program: string) =>
  layout === 'together'
    ? { directory: root, state: root }
    : { directory: join(root, 'etc', program), state: join(root, 'var/lib', program) };

/** What a control host of that version leaves below `root`; no agents yet. */
export async function legacyControlHost(
  root: string,
  options: LegacyControlHostOptions,
): Promise<LegacyControlHost> {
  const { version, layout, caVersion = 3, caKeyForm, conf = '' } = options;
  const { dispatcherId = 'control.example.com' } = options;
  const { directory, state } = placesOf(root, layout, 'ctrl-exec');
  const installed = (name: string) => join(options.names === 'here' ? directory : '/etc/ctrl-exec', name);
  const ca = await legacyCa({ directory, version: caVersion, pkcs1: caKeyForm === 'pkcs1' });
  const name = version === '0.8' ? 'ctrl-exec' : 'dispatcher';
  const dispatcher = await ca.issue(version === '0.8' ? 'ctrl-exec' : 'ctrl-exec-dispatcher');
  write(join(directory, `${name}.key`), dispatcher.key, 0o600);
  write(join(directory, `${name}.crt`), dispatcher.certificate, 0o644);
  const settings = [
    '# ctrl-exec configuration',
    `cert = ${installed(`${name}.crt`)}`,
    `key = ${installed(`${name}.key`)}`,
    `ca = ${installed('ca.crt')}`,
    '',
    'api_port = 7445',
    'read_timeout = 90',
    'cert_days = 365',
    ...(version === '0.8' ? [] : [`dispatcher_id = ${dispatcherId}`]),
    ...(version === '0.12' ? ['api_max_children = 64', 'service_user = ctrl-exec'] : []),
  ];
  write(join(directory, 'ctrl-exec.conf'), `${settings.join('\n')}\n${conf}`, 0o640);
  for (const each of ['agents', 'pairing', 'locks', 'runs'])
    mkdirSync(join(state, each), { recursive: true });

  return {
    version,
    directory,
    state,
    ca,
    dispatcher,
    dispatcherId,
    register(agent, fields = {}) {
      const record = {
        hostname: agent,
        ip: '127.0.0.1',
        paired: '2025-11-21T20:49:06Z',
        expiry: new X509Certificate(dispatcher.certificate).validTo,
        reqid: '3698ad2223d6b146',
        dispatcher_serial: version === '0.12' ? normalSerial(dispatcher.serial) : dispatcher.serial,
        serial_status: 'current',
        serial_broadcast: '',
        serial_confirmed: '2025-11-21T20:49:06Z',
        ...(version !== '0.8' && {
          lookup_by: 'hostname',
          port: version === '0.9' ? '7443' : 7443,
          tags: { env: 'prod' },
        }),
        ...fields,
      };
      const path = join(state, 'agents', `${agent}.json`);
      write(path, JSON.stringify(record), 0o644);
      return path;
    },
  };
}

export interface LegacyAgentHostOptions extends LegacyHostOptions {
  /** Who it is paired with: its CA, and the serial that it trusts. */
  readonly control: Pick<LegacyControlHost, 'ca' | 'dispatcher' | 'dispatcherId'>;
  /** Default `web-01.example.com`. */
  readonly name?: string;
  /** Default 7443. */
  readonly port?: number;
  /** Appended to `agent.conf`. */
  readonly conf?: string;
}

export interface LegacyAgentHost {
  readonly version: LegacyVersion;
  readonly name: string;
  /** Where configuration and keys are: what `import-state` is given. */
  readonly directory: string;
  readonly state: string;
  readonly agent: LegacyIdentity;
  /** The file that says whom it trusts. */
  readonly trustFile: string;
  /** Adds an executable script and its allowlist entry; returns its path. */
  script(name: string, text: string): string;
  /** Appends a line to the allowlist. */
  allow(line: string): void;
}

/** What a paired agent of that version leaves below `root`. */
export async function legacyAgentHost(
  root: string,
  options: LegacyAgentHostOptions,
): Promise<LegacyAgentHost> {
  const { version, layout, control, name = 'web-01.example.com', port = 7443, conf = '' } = options;
  const { directory, state } = placesOf(root, layout, 'ctrl-exec-agent');
  const installed = (file: string) =>
    join(options.names === 'here' ? directory : '/etc/ctrl-exec-agent', file);
  // A key is pinned for one host: each has its own.
  const agent = await control.ca.issue(name);
  write(join(directory, 'agent.key'), agent.key, 0o640);
  write(join(directory, 'agent.crt'), agent.certificate, 0o640);
  write(join(directory, 'ca.crt'), control.ca.pem, 0o644);
  write(
    join(directory, 'agent.conf'),
    [
      '# ctrl-exec-agent configuration',
      `port = ${port}`,
      `cert = ${installed('agent.crt')}`,
      `key = ${installed('agent.key')}`,
      `ca = ${installed('ca.crt')}`,
      'rate_limit_disable = 1',
      ...(version === '0.12'
        ? ['executor_socket = /run/ctrl-exec-agent/exec.sock', 'max_children = 256']
        : []),
      conf,
      '[tags]',
      'env = prod',
      '',
    ].join('\n'),
    0o640,
  );
  const allowlist = join(directory, 'scripts.conf');
  let allowed = '# name = /path\n';
  write(allowlist, allowed, 0o640);
  const allow = (line: string) => {
    allowed += `${line}\n`;
    writeFileSync(allowlist, allowed);
  };
  mkdirSync(state, { recursive: true });
  const trustFile =
    version === '0.8' ? join(directory, 'ctrl-exec-serial') : join(state, 'ctrl-exec-dispatchers');
  write(
    trustFile,
    version === '0.8'
      ? `${control.dispatcher.serial}\n`
      : `# Trusted dispatchers\n# serial dispatcher_id\n${normalSerial(control.dispatcher.serial)} ${control.dispatcherId}\n`,
    0o644,
  );
  return {
    version,
    name,
    directory,
    state,
    agent,
    trustFile,
    script(script, text) {
      const path = join(root, 'opt/ctrl-exec-scripts', script);
      write(path, text, 0o755);
      allow(`${script} = ${path}`);
      return path;
    },
    allow,
  };
}
