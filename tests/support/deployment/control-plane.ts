import { writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type ServerOptions } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { x509CertificateRequests } from '../../../src/adapters/x509/certificate-requests.js';
import { atEnd, temporaryDirectory } from '../commands/commands.js';
import { type TestCa, testCa } from '../network/test-pki.js';

/** A call as it arrived. */
interface PlaneCall {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  /** JSON, undefined without a body. */
  readonly body: Record<string, unknown> | undefined;
  /** `performance.now()` */
  readonly at: number;
}

/** Answers a call in another way than the specification wants; true: it has, or will. */
export type Misbehaviour = (call: PlaneCall, response: ServerResponse) => boolean | Promise<boolean>;

/** A control plane on loopback that holds the agent to the API, word for word. */
export interface FakeControlPlane {
  readonly url: string;
  readonly port: number;
  /** The bundle with the CA of its certificate. */
  readonly caBundle: string;
  /** The CA that issues what agents ask for. */
  readonly issuing: TestCa;
  readonly apiKey: string;
  readonly agentId: string;
  readonly calls: readonly PlaneCall[];
  /** What agents did that the API does not allow. */
  readonly faults: readonly string[];
  /** What the next polls are answered; a job whose end is reported is gone. */
  jobs: object[];
  /** PEM by the id of the certificate: leaf, then chain. */
  readonly certificates: Map<string, string>;
  misbehave: Misbehaviour | undefined;
  /** The lines of `[pull]` in the agent.conf of its agents. */
  policy: string;
  /** A directory for that file. */
  readonly home: string;
  /** The calls to paths that end so. */
  to(end: string): readonly PlaneCall[];
  /** Resolves with the first call from now or before that fits. */
  call(fits: (call: PlaneCall) => boolean): Promise<PlaneCall>;
  /** The environment of an agent of this control plane. */
  readonly environment: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

const isText = (value: unknown) => typeof value === 'string';
const isList = (value: unknown) => Array.isArray(value) && value.every(isText);

/** Members of each body, and what they must be; a `?` at the end: it may be missing. */
const bodies: Readonly<Record<string, Readonly<Record<string, (value: unknown) => boolean>>>> = {
  heartbeat: {
    version: isText,
    hostname: isText,
    os: (value) => value === 'linux' || value === 'darwin',
    architecture: (value) => value === 'amd64' || value === 'arm64',
    ip_address: isText,
  },
  csr: { csr_pem: isText, certificate_id: isText },
  status: { status: (value) => ['Running', 'Completed', 'Failed'].includes(String(value)), 'error?': isText },
  verify: {
    target_id: isText,
    expected_fingerprint: isText,
    actual_fingerprint: isText,
    verified: (value) => typeof value === 'boolean',
    error: isText,
  },
  discoveries: {
    agent_id: isText,
    directories: isList,
    certificates: Array.isArray,
    errors: isList,
    scan_duration_ms: Number.isInteger,
  },
};

function faultsOf(kind: string, body: PlaneCall['body']): readonly string[] {
  const members = bodies[kind] ?? {};
  const names = Object.keys(members).map((name) => name.replace('?', ''));
  const strange = Object.keys(body ?? {}).filter((name) => !names.includes(name));
  const wrong = Object.entries(members).filter(([name, is]) => {
    const value = body?.[name.replace('?', '')];
    return value === undefined ? !name.endsWith('?') : !is(value);
  });
  return [...strange, ...wrong.map(([name]) => name)].map((name) => `${kind}: ${name}`);
}

const methods: Readonly<Record<string, string>> = { work: 'GET', certificates: 'GET' };

export async function fakeControlPlane(tls: ServerOptions = {}): Promise<FakeControlPlane> {
  const [serverCa, issuing] = [await testCa({ commonName: 'plane CA' }), await testCa()];
  const identity = await serverCa.issue({
    commonName: 'control plane',
    dnsNames: ['localhost'],
    usages: ['serverAuth'],
  });
  const calls: PlaneCall[] = [];
  const faults: string[] = [];
  const watchers = new Set<() => void>();
  const certificates = new Map<string, string>();
  const sockets = new Set<Socket>();
  const apiKey = 'test-api-key-0123456789';
  const agentId = 'agent-1';

  const json = (response: ServerResponse, status: number, value: unknown) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(`${JSON.stringify(value)}\n`);
  };

  async function issue(body: Record<string, unknown>): Promise<string | undefined> {
    const request = await x509CertificateRequests().read(String(body['csr_pem']));
    if (request.isErr()) return request.error.message;
    const id = String(body['certificate_id']);
    const issued = await issuing.issue({
      spki: request.value.spki,
      commonName: id,
      dnsNames: [`${id}.test`],
    });
    certificates.set(id, issued.certificate + issuing.pem);
    return undefined;
  }

  async function serve(call: PlaneCall, response: ServerResponse): Promise<void> {
    const refuse = (status: number, reason: string) => {
      faults.push(reason);
      json(response, status, { error: reason });
    };
    if (call.headers.authorization !== `Bearer ${apiKey}`) return refuse(401, 'authorization');
    const [, own, job] =
      /^\/api\/v1\/agents\/agent-1\/(heartbeat|work|csr|certificates\/[^/]+|jobs\/[^/]+\/status|discoveries)$/.exec(
        call.path,
      ) ??
      /^()\/api\/v1\/(jobs\/[^/]+\/verify)$/.exec(call.path) ??
      [];
    const words = (own || job || '').split('/');
    const kind = words[0] === 'jobs' ? (words[2] ?? '') : (words[0] ?? '');
    if (kind === '') return refuse(404, `path ${call.path}`);
    if (call.method !== (methods[kind] ?? 'POST')) return refuse(405, `${call.method} ${kind}`);
    if (call.body && call.headers['content-type'] !== 'application/json') return refuse(415, 'content-type');
    const wrong = faultsOf(kind, call.body);
    if (wrong.length > 0) return refuse(400, wrong.join(', '));
    switch (kind) {
      case 'work':
        return json(response, 200, { jobs: plane.jobs, count: plane.jobs.length });
      case 'csr': {
        const fault = await issue(call.body ?? {});
        plane.jobs = plane.jobs.filter((each) => (each as { status?: unknown }).status !== 'AwaitingCSR');
        return fault === undefined ? json(response, 202, { status: 'accepted' }) : refuse(400, fault);
      }
      case 'certificates': {
        const pem = certificates.get(words[1] ?? '');
        return pem ? json(response, 200, { certificate_pem: pem }) : json(response, 404, { error: 'none' });
      }
      case 'status':
        if (call.body?.['status'] !== 'Running')
          plane.jobs = plane.jobs.filter((each) => (each as { id?: unknown }).id !== words[1]);
        return json(response, 200, { status: 'ok' });
      default:
        return json(response, kind === 'discoveries' ? 202 : 200, { status: 'ok' });
    }
  }

  const server = createServer(
    { key: identity.key, cert: identity.certificate + serverCa.pem, minVersion: 'TLSv1.3', ...tls },
    (request, response) => {
      const chunks: Buffer[] = [];
      response.on('error', () => undefined);
      request.on('error', () => undefined);
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', async () => {
        const text = Buffer.concat(chunks).toString();
        const { method = '', url = '', headers } = request;
        const body = text === '' ? undefined : JSON.parse(text);
        const call = { method, path: url, headers, body, at: performance.now() };
        calls.push(call);
        for (const watcher of watchers) watcher();
        if (!(await plane.misbehave?.(call, response))) await serve(call, response);
      });
    },
  );
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined).on('close', () => sockets.delete(socket));
  });
  server.on('tlsClientError', () => undefined);
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  const directory = temporaryDirectory();
  const caBundle = join(directory, 'plane-ca.pem');
  writeFileSync(caBundle, `# the CA of the control plane\n${serverCa.pem}`);
  const url = `https://localhost:${port}`;

  const plane: FakeControlPlane = {
    url,
    port,
    caBundle,
    issuing,
    apiKey,
    agentId,
    calls,
    faults,
    jobs: [],
    certificates,
    misbehave: undefined,
    policy: '',
    home: temporaryDirectory(),
    to: (end) => calls.filter(({ path }) => path.endsWith(end)),
    call: (fits) =>
      new Promise((resolve) => {
        const watcher = () => {
          const found = calls.find(fits);
          if (!found) return;
          watchers.delete(watcher);
          resolve(found);
        };
        watchers.add(watcher);
        watcher();
      }),
    environment: {
      CERTCTL_SERVER_URL: url,
      CERTCTL_API_KEY: apiKey,
      CERTCTL_AGENT_ID: agentId,
      CERTCTL_KEY_DIR: join(directory, 'keys'),
      CERTCTL_SERVER_CA_BUNDLE_PATH: caBundle,
    },
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
  atEnd(plane.close);
  return plane;
}
