import { err, ok, okAsync, type ResultAsync, safeTry } from 'neverthrow';
import { valuesWithHash } from '../../../domain/core/configuration.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { parseAllowlist } from '../../../domain/runs/allowlist.js';
import type { AgentSettings } from '../../../domain/settings/agent.js';
import { agentSettings } from '../../../domain/settings/agent.js';
import { readConfiguration } from '../../core/configuration.js';
import { maxFile } from '../../core/place.js';
import type { AgentContext } from '../context.js';
import { type AgentIdentity, type AgentTrust, loadTrust } from '../trust/trust.js';
import { trustFiles } from '../trust/trusted-files.js';
import { actionScripts } from './actions.js';
import { readScripts, type Script } from './scripts.js';

/** Everything that an agent decides by; replaced as a whole by a reload. */
export interface AgentState extends AgentTrust {
  readonly settings: AgentSettings;
  /** By name. */
  readonly scripts: ReadonlyMap<string, Script>;
  /** Those of the warnings that are about files which another account can change. */
  readonly distrusted: readonly string[];
  /** One line each. */
  readonly warnings: readonly string[];
}

/** Reads the configuration alone. No other file is judged. `doubts`: what may be a slip, for whoever asks for a check. */
export function loadSettings(
  context: Pick<AgentContext, 'files' | 'place'>,
): ResultAsync<
  { settings: AgentSettings; warnings: readonly string[]; doubts: readonly string[] },
  CtrlExecError
> {
  const { configurationFile: file, configurationRequired: required, fileTrust, ...base } = context.place;
  return readConfiguration(context.files, { file, required, fileTrust }).andThen((parsed) =>
    agentSettings(parsed, { ...base, file, fileTrust }).map((read) => ({
      ...read,
      doubts: parsed ? valuesWithHash(parsed) : [],
    })),
  );
}

/** As `loadSettings`, for what reads or changes trust and identity afterwards. */
export const loadTrustedSettings = (
  context: Pick<AgentContext, 'files' | 'keyStore' | 'place'>,
): ResultAsync<AgentSettings, CtrlExecError> =>
  loadSettings(context).andThen(({ settings }) => trustFiles(context, settings, true).map(() => settings));

/** Reads everything anew. Err: nothing may change; the caller keeps what it had. */
export const loadState = (
  context: AgentContext,
  before?: AgentState,
): ResultAsync<AgentState, CtrlExecError> =>
  loadSettings(context).andThen(({ settings, warnings }) =>
    trustFiles(context, settings, before === undefined).andThen((distrusted) =>
      readState(context, { settings, warnings, distrusted }, before),
    ),
  );

/** As `loadState`, without judging the files. */
export function readState(
  context: AgentContext,
  { settings, warnings, distrusted }: Pick<AgentState, 'settings' | 'warnings' | 'distrusted'>,
  before?: AgentState,
): ResultAsync<AgentState, CtrlExecError> {
  return safeTry(async function* () {
    const { trust, warnings: doubts } = yield* loadTrust(context, settings, before?.denied);
    const text = yield* context.files.readText(settings.scriptsConf, maxFile);
    const allowlist = parseAllowlist(text ?? '', settings.scriptsConf);
    const actions = yield* actionScripts(context, settings, allowlist.entries);
    const loaded = await readScripts(context, settings, [...allowlist.entries.values()]);
    return ok({
      settings,
      scripts: new Map([...loaded.scripts, ...actions.map((action) => [action.name, action] as const)]),
      ...trust,
      distrusted: [...distrusted, ...loaded.distrusted],
      warnings: [
        ...warnings,
        ...distrusted,
        ...(text === undefined && actions.length === 0
          ? [`${settings.scriptsConf} does not exist: no script is allowed`]
          : []),
        ...allowlist.warnings,
        ...loaded.warnings,
        ...loaded.distrusted,
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
