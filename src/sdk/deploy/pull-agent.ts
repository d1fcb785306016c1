import { errAsync, ok, type ResultAsync, safeTry } from 'neverthrow';
import {
  type Calls,
  callback,
  flag,
  judged,
  mayAsk,
  maybe,
  record,
  signal,
} from '../../domain/core/border.js';
import type { CtrlExecError } from '../../domain/core/errors.js';
import { believe } from '../../domain/core/file-trust.js';
import { withoutTokenIn } from '../../domain/core/redaction.js';
import { isLogged, type PullSettings, pullSettings } from '../../domain/settings/pull.js';
import type { SettingsAndWarnings } from '../../domain/settings/reader.js';
import type { EventLog } from '../../ports/event-log.js';
import { readConfiguration } from '../core/configuration.js';
import { lanes } from '../core/lanes.js';
import { invalidArgument } from '../core/refusals.js';
import { judge } from '../core/trusted-files.js';
import { unfailing } from '../core/unfailing-events.js';
import type { DeployContext } from './context.js';
import { pullApi } from './pull/api.js';
import type { PullContext } from './pull/context.js';
import { type PullEnd, pullLoop } from './pull/loop.js';
import type { PullSession } from './pull/session.js';
import { recoverDeployments } from './recover.js';

type Answer<T> = ResultAsync<T, CtrlExecError>;

/** How long a pull agent works. */
export interface PullRunOptions {
  /** One heartbeat, one poll with what it brings, one scan; then it ends. Default false. */
  readonly once?: boolean;
  /** Ends it at once; a deployment that has begun comes to its end or is rolled back first. */
  readonly signal?: AbortSignal;
  /** Called when everything is in order and the work begins. */
  readonly onStart?: (settings: PullSettings) => void;
}

/** A certificate agent of a certctl control plane. No method throws for an expected failure. */
export interface PullAgent {
  /** The settings as they are now, and the warnings of the configuration. */
  configuration(): Answer<SettingsAndWarnings<PullSettings>>;
  /** Works until it is stopped or retired. Err: it could not begin, and nothing was sent. */
  run(options?: PullRunOptions): Answer<PullEnd>;
}

/** What the methods of a pull agent take. */
export const pullCalls: Calls<PullAgent> = {
  run: [
    mayAsk(record<PullRunOptions>({ once: maybe(flag), signal: maybe(signal), onStart: maybe(callback()) })),
  ],
};

/** A pull agent over its context. */
export function createPullAgent(over: PullContext): PullAgent {
  const context = { ...over, events: unfailing(over.events) };
  const configuration = () => loadPullSettings(context);
  const methods: PullAgent = {
    configuration,
    run: (options = {}) => configuration().andThen((loaded) => run(context, loaded, options)),
  };
  return judged(methods, pullCalls, (wrong) => errAsync(invalidArgument(wrong)));
}

function loadPullSettings(context: PullContext): Answer<SettingsAndWarnings<PullSettings>> {
  const { files, options, place, variables } = context;
  const { configurationFile: file, configurationRequired: required, fileTrust } = place;
  return readConfiguration(files, { file, required, fileTrust })
    .andThen((parsed) => pullSettings(options, variables, { file, fileTrust, parsed }))
    .andThen(({ settings, warnings }) => {
      const bundle = settings.caBundle || variables['SSL_CERT_FILE'];
      return judge(files, bundle ? [bundle] : [])
        .andThen((judged) =>
          /* defence: pull-ca-bundle-is-trusted */ believe(judged, settings.policy.fileTrust),
        )
        .map((doubts) => ({ settings, warnings: [...warnings, ...doubts] }));
    });
}

function run(
  context: PullContext,
  { settings, warnings }: SettingsAndWarnings<PullSettings>,
  options: PullRunOptions,
): Answer<PullEnd> {
  const events = filtered(context.events, settings);
  return safeTry(async function* () {
    const plane = yield* context.controlPlane(settings);
    const keys = context.keys(settings);
    const stop = options.signal ?? new AbortController().signal;
    try {
      const { tightenedFrom } = yield* keys.prepare();
      tellStart(events, settings, warnings, tightenedFrom);
      const deployment = deployContext(context, settings);
      await recover(deployment, events);
      const api = pullApi(plane, settings);
      const once: PullSession['once'] = new Set();
      const session: PullSession = { context, settings, api, keys, deployment, events, once, stop };
      options.onStart?.(settings);
      const end = await pullLoop(session, options.once === true);
      events.emit({ action: 'pull-stopped', fields: { agent: settings.agentId } });
      return ok(end);
    } finally {
      await plane.close();
    }
  });
}

const deployContext = (context: PullContext, settings: PullSettings): DeployContext => ({
  caddyAdmin: context.caddyAdmin,
  clock: context.clock,
  crypto: context.crypto,
  deploymentFiles: context.deploymentFiles,
  deploymentJournal: context.deploymentJournal(settings),
  environment: context.environment,
  files: context.files,
  lanes: lanes(),
  policy: settings.policy,
  runner: context.runner,
  tlsProbe: context.tlsProbe,
});

/** What is urgent enough, without the API key: the control plane may have put it anywhere. */
const filtered = (events: EventLog, { apiKey, logLevel }: PullSettings): EventLog => ({
  emit: (event) => {
    if (!isLogged(logLevel, event.level ?? 'info')) return;
    // defence: pull-key-not-logged
    events.emit(withoutTokenIn(event, apiKey));
  },
});

function tellStart(
  events: EventLog,
  settings: PullSettings,
  warnings: readonly string[],
  tightenedFrom: number | undefined,
): void {
  const { agentId: agent, discoveryDirs, keyDir, name, server } = settings;
  for (const reason of warnings) events.emit({ action: 'warning', level: 'warning', fields: { reason } });
  if (tightenedFrom !== undefined)
    events.emit({
      action: 'key-directory-closed',
      level: 'warning',
      fields: { path: keyDir, was: tightenedFrom.toString(8).padStart(4, '0') },
    });
  const place = server.origin + server.basePath;
  if (settings.insecureSkipVerify)
    events.emit({ action: 'pull-insecure', level: 'warning', fields: { server: place } });
  const discovery = discoveryDirs.length === 0 ? undefined : discoveryDirs.join(',');
  events.emit({ action: 'pull-started', fields: { server: place, agent, name, keys: keyDir, discovery } });
}

/** What an earlier process left half done comes first; where that fails the agent works on, for other targets are in order. */
async function recover(context: DeployContext, events: EventLog): Promise<void> {
  const recovered = await recoverDeployments(context);
  recovered.match(
    (lines) => {
      for (const what of lines)
        events.emit(
          what.startsWith('ROLLBACK FAILED')
            ? { action: 'recovery-failed', level: 'error', fields: { reason: what } }
            : { action: 'deployment-recovered', level: 'warning', fields: { what } },
        );
    },
    ({ message: reason }) => events.emit({ action: 'recovery-failed', level: 'error', fields: { reason } }),
  );
}
