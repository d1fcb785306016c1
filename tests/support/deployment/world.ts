import { createHash } from 'node:crypto';
import { errAsync, okAsync } from 'neverthrow';
import { memoryProcessRunner, processOutcome } from '../../../src/adapters/memory/process-runner.js';
import { nodeCrypto } from '../../../src/adapters/node-crypto/crypto.js';
import { failure } from '../../../src/domain/core/errors.js';
import { parseCommand } from '../../../src/domain/deploy/command.js';
import { type PullPolicy, strictPolicy } from '../../../src/domain/deploy/policy.js';
import { lanes } from '../../../src/sdk/core/lanes.js';
import type { DeployContext } from '../../../src/sdk/deploy/context.js';
import { memoryCaddyAdmin } from '../memory/caddy-admin.js';
import { memoryDeploymentFiles } from '../memory/deployment-files.js';
import { memoryDeploymentJournal } from '../memory/deployment-journal.js';
import { memoryTlsProbe } from '../memory/tls-probe.js';
import type { TestCa } from '../network/test-pki.js';

/** Lets every wait be over at once, and keeps how long each would have been. */
function hurriedClock(): DeployContext['clock'] & { readonly waits: number[] } {
  const waits: number[] = [];
  return {
    waits,
    now: () => 0,
    monotonic: () => waits.reduce((sum, wait) => sum + wait, 0),
    after: (delay, callback) => {
      waits.push(delay);
      const immediate = setImmediate(callback);
      return () => clearImmediate(immediate);
    },
  };
}

/** SHA-256 of the first certificate of a PEM text. */
export function fingerprintOf(pem: string): string {
  const [, body = ''] = /-----BEGIN CERTIFICATE-----([^-]*)-----END/.exec(pem) ?? [];
  return createHash('sha256').update(Buffer.from(body, 'base64')).digest('hex');
}

/** Fails the call of this number, counted over every method of the objects that are given to `failing`. */
export interface Trouble {
  calls: number;
  failAt: number;
}

/** The same object, but one of its calls fails without having done anything. */
function failing<T extends object>(subject: T, trouble: Trouble, methods: readonly (keyof T)[]): T {
  return new Proxy(subject, {
    get: (target, name) => {
      const member: unknown = Reflect.get(target, name);
      if (name === 'hold' && typeof member === 'function')
        return () => failing(Reflect.apply(member, target, []) as T, trouble, methods);
      if (typeof member !== 'function' || !methods.includes(name as keyof T)) return member;
      return (...args: unknown[]) => {
        trouble.calls += 1;
        const fields = { path: String(name), operation: 'try', reason: 'EIO' };
        if (trouble.calls === trouble.failAt)
          return errAsync(failure('file_failed', `cannot ${String(name)}: EIO`, fields));
        return Reflect.apply(member, target, args);
      };
    },
  });
}

/** What the host of `deploymentWorld` allows. */
export const worldPolicy: PullPolicy = {
  ...strictPolicy('/home/agent.conf'),
  commands: ['validate -q', '/bin/reload', 'absent'].flatMap((text) => parseCommand(text) ?? []),
  paths: ['/etc/tls', '/etc/other', '/nowhere'],
};

/** A host in memory with one server, that serves what was in its files when it was last told to reload. */
export async function deploymentWorld(ca: TestCa, options: { readonly trouble?: Trouble } = {}) {
  const issue = () => ca.issue({ commonName: 'www.test', dnsNames: ['www.test'], usages: ['serverAuth'] });
  const [old, fresh] = [await issue(), await issue()];
  const files = memoryDeploymentFiles(['/etc', '/etc/tls', '/etc/tls/sub', '/etc/other', '/etc/nginx']);
  const put = (path: string, text: string, mode = 0o644) =>
    files.files.set(path, { content: new TextEncoder().encode(text), mode, uid: 0, gid: 0 });
  const text = (path: string) => {
    const file = files.files.get(path);
    return file && new TextDecoder().decode(file.content);
  };
  put('/etc/tls/cert.pem', old.certificate + ca.pem);
  put('/etc/tls/key.pem', old.key, 0o600);

  const server = {
    served: fingerprintOf(old.certificate),
    commands: [] as string[],
    /** Exit codes of the next runs of a command; 0 when there are none left. */
    exits: { validate: [] as number[], reload: [] as number[] },
    /** What is served whatever is in the files. */
    stuckAt: undefined as string | undefined,
    listening: true,
  };
  const runner = memoryProcessRunner({
    '/bin/validate': ({ args }) => {
      server.commands.push(['validate', ...args].join(' '));
      return processOutcome(server.exits.validate.shift() ?? 0);
    },
    '/bin/reload': () => {
      server.commands.push('reload');
      const code = server.exits.reload.shift() ?? 0;
      if (code === 0) server.served = fingerprintOf(text('/etc/tls/cert.pem') ?? '');
      return processOutcome(code);
    },
  });
  const journal = memoryDeploymentJournal();
  const caddy = memoryCaddyAdmin();
  const clock = hurriedClock();
  const { trouble } = options;
  const context: DeployContext = {
    caddyAdmin: caddy,
    clock,
    crypto: nodeCrypto(),
    deploymentFiles: trouble
      ? failing(files, trouble, ['identify', 'look', 'stage', 'place', 'remove', 'sync'])
      : files,
    deploymentJournal: trouble ? failing(journal, trouble, ['begin', 'noteReload', 'end']) : journal,
    environment: { PATH: '/usr/bin:/bin' },
    files: {
      faults: () => okAsync([]),
      isExecutable: (path) => okAsync(['/bin/validate', '/bin/reload'].includes(path)),
      readText: () => okAsync('root:x:0:0\ndaemon:x:1:1\nstaff:x:50:50\n'),
    },
    lanes: lanes(),
    policy: worldPolicy,
    runner,
    tlsProbe: memoryTlsProbe(() => (server.listening ? (server.stuckAt ?? server.served) : undefined)),
  };
  const config = {
    cert_path: '/etc/tls/cert.pem',
    key_path: '/etc/tls/key.pem',
    validate_command: 'validate -q',
    reload_command: '/bin/reload',
    post_deploy_verify: { enabled: true, endpoint: 'localhost:443' },
  };
  const deployment = {
    targetType: 'NGINX',
    targetConfig: config,
    certificatePem: fresh.certificate + ca.pem,
    keyPem: fresh.key,
  };
  return { ca, old, fresh, files, text, put, server, journal, caddy, clock, context, config, deployment };
}
