import { err, ok, okAsync, type Result, type ResultAsync, safeTry } from 'neverthrow';
import { parseConfiguration } from '../../domain/core/configuration.js';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import { parseAllowlist } from '../../domain/runs/allowlist.js';
import type { AgentSettings } from '../../domain/settings/agent.js';
import { agentSettings } from '../../domain/settings/agent.js';
import { maxFile } from '../core/place.js';
import type { AgentContext } from './context.js';
import { actionScripts } from './runs/actions.js';
import { readScripts, type Script } from './runs/scripts.js';
import { type AgentIdentity, type AgentTrust, loadTrust } from './trust/trust.js';

/** Everything that an agent decides by; replaced as a whole by a reload. */
export interface AgentState extends AgentTrust {
  readonly settings: AgentSettings;
  /** By name. */
  readonly scripts: ReadonlyMap<string, Script>;
  /** One line each. */
  readonly warnings: readonly string[];
}

/** Reads the configuration alone. */
export function loadSettings(
  context: Pick<AgentContext, 'files' | 'place'>,
): ResultAsync<{ settings: AgentSettings; warnings: readonly string[] }, CtrlExecError> {
  const { files, place } = context;
  const file = place.configurationFile;
  return files
    .readText(file, maxFile)
    .mapErr((error): CtrlExecError => error)
    .andThen((text): Result<{ settings: AgentSettings; warnings: readonly string[] }, CtrlExecError> => {
      const base = { home: place.home, stateDir: place.stateDir, file };
      if (text !== undefined)
        return parseConfiguration(text, file).andThen((parsed) => agentSettings(parsed, base));
      if (!place.configurationRequired) return agentSettings(undefined, base);
      return err(
        failure('config_invalid', `${file}: the configuration file does not exist`, {
          file,
          reason: 'missing',
        }),
      );
    });
}

/** Reads everything anew. Err: nothing may change; the caller keeps what it had. */
export function loadState(
  context: AgentContext,
  before?: AgentState,
): ResultAsync<AgentState, CtrlExecError> {
  return safeTry(async function* () {
    const { settings, warnings } = yield* loadSettings(context);
    const { trust, warnings: doubts } = yield* loadTrust(context, settings, before?.denied);
    const text = yield* context.files.readText(settings.scriptsConf, maxFile);
    const allowlist = parseAllowlist(text ?? '', settings.scriptsConf);
    const actions = yield* actionScripts(context, settings, allowlist.entries);
    const loaded = await readScripts(context, settings, [...allowlist.entries.values()]);
    return ok({
      settings,
      scripts: new Map([...loaded.scripts, ...actions.map((action) => [action.name, action] as const)]),
      ...trust,
      warnings: [
        ...warnings,
        ...(text === undefined && actions.length === 0
          ? [`${settings.scriptsConf} does not exist: no script is allowed`]
          : []),
        ...allowlist.warnings,
        ...loaded.warnings,
        ...doubts,
      ],
    });
  });
}

const notPaired = (): CtrlExecError<'identity_missing'> =>
  failure(
    'identity_missing',
    'this agent is not paired: run `ctrl-exec-agent request-pairing --dispatcher HOST` while the dispatcher is in pairing mode',
    { role: 'agent' },
  );

/** The identity, or why there is none. */
export const requireIdentity = (
  state: AgentState,
): ResultAsync<AgentIdentity, CtrlExecError<'identity_missing'>> =>
  okAsync(state.identity).andThen((identity) => (identity ? ok(identity) : err(notPaired())));
