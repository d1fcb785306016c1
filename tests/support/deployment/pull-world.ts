import { errAsync, okAsync, ResultAsync } from 'neverthrow';
import { manualClock } from '../../../src/adapters/memory/clock.js';
import { memoryEventLog } from '../../../src/adapters/memory/event-log.js';
import { memoryFileSystem } from '../../../src/adapters/memory/file-system.js';
import { countingRandom } from '../../../src/adapters/memory/random.js';
import { readAnswer } from '../../../src/adapters/undici/control-plane-answers.js';
import { x509CertificateRequests } from '../../../src/adapters/x509/certificate-requests.js';
import { failure } from '../../../src/domain/core/errors.js';
import type { ControlPlaneRequest } from '../../../src/domain/deploy/control-plane-api.js';
import type { PullOptions } from '../../../src/domain/settings/pull.js';
import type { PullContext } from '../../../src/sdk/deploy/pull/context.js';
import type { PullEnd } from '../../../src/sdk/deploy/pull/loop.js';
import { createPullAgent } from '../../../src/sdk/deploy/pull-agent.js';
import { type ControlPlaneScript, memoryControlPlane } from '../memory/control-plane.js';
import { type MemoryTreeFile, memoryFileTree } from '../memory/file-tree.js';
import { memoryPullKeys } from '../memory/pull-keys.js';
import { testCa } from '../network/test-pki.js';
import { deploymentWorld } from './world.js';

/** What a control plane in memory answers to a call; undefined: as it should. */
export type PlaneAnswer =
  | { readonly status: number; readonly body?: unknown }
  | 'unreachable'
  | 'silence'
  | undefined;

const needed = {
  CERTCTL_SERVER_URL: 'https://plane.test',
  CERTCTL_API_KEY: 'top-secret-key',
  CERTCTL_AGENT_ID: 'a1',
};

export interface PullWorldOptions {
  readonly options?: PullOptions;
  readonly variables?: Readonly<Record<string, string>>;
  readonly seed?: string;
  readonly tree?: ReadonlyMap<string, MemoryTreeFile>;
  /** agent.conf. */
  readonly conf?: string;
}

/** Allows what the target of the world needs. */
const worldConfiguration = '[pull]\ncommands = validate -q, /bin/reload\npaths = /etc/tls, /etc/other\n';

/** A pull agent whose time, files and control plane are in memory, and whose target is a server in memory. */
export async function pullWorld(given: PullWorldOptions = {}) {
  const ca = await testCa();
  const target = await deploymentWorld(ca);
  const clock = manualClock(1_800_000_000_000);
  const events = memoryEventLog();
  const keys = memoryPullKeys();
  const plane = {
    jobs: [] as object[],
    certificates: new Map<string, string>(),
    answer: (_request: ControlPlaneRequest): PlaneAnswer | Promise<PlaneAnswer> => undefined,
  };
  const calls: ControlPlaneRequest[] = [];
  /** When each call came, by the end of its path. */
  const times: { at: number; path: string }[] = [];

  /** With `--once` the jobs are those of the first poll: it goes on polling until there are none. */
  let [offered, onlyOnce] = [false, false];
  const usual = (path: string): { status: number; body?: unknown } => {
    if (path.endsWith('/work')) {
      const jobs = offered && onlyOnce ? [] : plane.jobs;
      offered = true;
      return { status: 200, body: { jobs, count: jobs.length } };
    }
    if (path.endsWith('/csr') || path.endsWith('/discoveries')) return { status: 202 };
    const id = /\/certificates\/(.*)$/.exec(path)?.[1];
    if (id === undefined) return { status: 200 };
    const pem = plane.certificates.get(id);
    return pem === undefined ? { status: 404 } : { status: 200, body: { certificate_pem: pem } };
  };
  const script: ControlPlaneScript = (request, signal) => {
    times.push({ at: clock.monotonic(), path: request.path });
    calls.push(structuredClone(request));
    return ResultAsync.fromSafePromise(Promise.resolve(plane.answer(request))).andThen((answer) =>
      give(request, answer, signal),
    );
  };
  const give = (
    request: ControlPlaneRequest,
    answer: PlaneAnswer,
    signal: AbortSignal,
  ): ReturnType<ControlPlaneScript> => {
    if (answer === 'unreachable')
      return errAsync(failure('connection_refused', 'nothing listens', { host: 'plane.test', port: 443 }));
    if (answer === 'silence')
      return ResultAsync.fromPromise(
        new Promise<never>((_resolve, reject) => {
          signal.addEventListener('abort', reject);
        }),
        () => failure('aborted', 'the call was aborted', {}),
      );
    const { status, body = {} } = answer ?? usual(request.path);
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    const read = readAnswer(request, { status, body: new TextEncoder().encode(text) });
    return new ResultAsync(Promise.resolve(read));
  };

  const { deploymentJournal, lanes: _lanes, policy: _policy, ...deployment } = target.context;
  const files = memoryFileSystem({
    '/home/agent.conf': given.conf ?? worldConfiguration,
    '/etc/passwd': 'root:x:0:0\n',
  });
  const context: PullContext = {
    ...deployment,
    deploymentJournal: () => deploymentJournal,
    clock,
    certificateRequests: x509CertificateRequests(),
    controlPlane: () => okAsync(memoryControlPlane(script)),
    events,
    files: { ...files, isExecutable: target.context.files.isExecutable },
    host: { name: 'host-1', system: 'linux', architecture: 'amd64', addressTowards: async () => '192.0.2.7' },
    keys: () => keys,
    options: given.options ?? {},
    place: {
      home: '/home',
      stateDir: '/home/state',
      configurationFile: '/home/agent.conf',
      configurationRequired: false,
      fileTrust: 'strict',
    },
    random: countingRandom(given.seed ?? 'seed'),
    tree: memoryFileTree(given.tree ?? new Map()),
    variables: { ...needed, ...given.variables },
    version: '1.2.3',
  };
  const stop = new AbortController();
  return {
    ca,
    target,
    clock,
    events,
    keys,
    plane,
    calls,
    times,
    files,
    context,
    stop,
    to: (end: string) => calls.filter(({ path }) => path.endsWith(end)),
    /** Lets the agent work; the answer is how it ended. */
    run: (once = false): Promise<PullEnd> => {
      [offered, onlyOnce] = [false, once];
      return createPullAgent(context)
        .run({ once, signal: stop.signal })
        .match(
          (end) => end,
          (error) => {
            throw new Error(error.message);
          },
        );
    },
  };
}
