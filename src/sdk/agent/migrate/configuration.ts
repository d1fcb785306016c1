import { ok, type ResultAsync, safeTry } from 'neverthrow';
import { at, editConfiguration, parseConfiguration } from '../../../domain/core/configuration.js';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import { takeAllowlist } from '../../../domain/legacy/allowlist.js';
import { describeNote } from '../../../domain/legacy/configuration.js';
import type { ImportLines } from '../../../domain/legacy/import-report.js';
import { parseAllowlist } from '../../../domain/runs/allowlist.js';
import { type AgentSettings, agentSettings } from '../../../domain/settings/agent.js';
import {
  beginConfiguration,
  correctFirst,
  type PlannedConfiguration,
} from '../../core/migrate/configuration.js';
import { parallel } from '../../core/parallel.js';
import { maxFile } from '../../core/place.js';
import type { AgentContext } from '../context.js';
import { scriptPath, whyNotStarted } from '../state/scripts.js';
import type { AgentHostSources } from './sources.js';

const key = 'accept_legacy_dispatchers';

/** Takes the configuration over where there is none here. @param accept whether unsigned requests are to be accepted */
export function planConfiguration(
  { files, place }: Pick<AgentContext, 'files' | 'place'>,
  sources: AgentHostSources,
  accept: boolean,
  lines: ImportLines,
): ResultAsync<PlannedConfiguration<AgentSettings>, CtrlExecError<'config_invalid' | 'file_failed'>> {
  const { configurationFile: ours, home, stateDir, fileTrust } = place;
  const { configuration, directory } = sources;
  return safeTry(async function* () {
    const { present, before, taken, shown, remarks } = yield* beginConfiguration(
      files,
      ours,
      sources,
      [],
      lines,
    );
    const { settings, warnings } = yield* parseConfiguration(before, shown)
      .andThen((parsed) => agentSettings(parsed, { home, stateDir, file: ours, fileTrust }))
      .mapErr(correctFirst(ours));
    if (taken || directory.inPlace) lines.warnings.push(...warnings, ...remarks);
    const executor = configuration?.taken.settings.get('executor_socket');
    if (executor && (taken || directory.inPlace))
      lines.warnings.push(
        `${at(configuration?.path ?? ours, executor.line)}: executor_socket has no effect: scripts run as the user of this agent`,
      );
    const add = accept && !settings.acceptLegacyDispatchers;
    if (add) lines.imported.push({ what: key, detail: `${ours} gets the line ${key} = yes` });
    const text = add ? editConfiguration(before, key, 'yes') : before;
    return ok({
      text: text === (present ?? '') ? undefined : text,
      before,
      settings: { ...settings, acceptLegacyDispatchers: accept || settings.acceptLegacyDispatchers },
    });
  });
}

/** The allowlist, where there is none here; undefined: it stays, or there was none. */
export function planAllowlist(
  context: AgentContext,
  settings: AgentSettings,
  { allowlist, directory }: AgentHostSources,
  lines: ImportLines,
): ResultAsync<string | undefined, CtrlExecError<'file_failed'>> {
  const ours = settings.scriptsConf;
  return safeTry<string | undefined, CtrlExecError<'file_failed'>>(async function* () {
    const present = yield* context.files.readText(ours, maxFile);
    if (present !== undefined) lines.kept.push({ what: 'allowlist', detail: `${ours} stays as it is` });
    if (!allowlist) return ok(undefined);
    const { text, notes } = takeAllowlist(allowlist.text, allowlist.path);
    if (present !== undefined && !directory.inPlace) return ok(undefined);
    lines.warnings.push(...notes.map(describeNote(directory.inPlace)));
    lines.warnings.push(...(await refusedScripts(context, settings, present ?? text, allowlist.path)));
    if (present !== undefined) return ok(undefined);
    lines.imported.push({ what: 'allowlist', detail: `${ours} from ${allowlist.path}` });
    return ok(text);
  });
}

/** What of an allowlist will not be run as it was before, with its line. */
async function refusedScripts(
  context: AgentContext,
  settings: AgentSettings,
  text: string,
  file: string,
): Promise<readonly string[]> {
  const { entries, warnings } = parseAllowlist(text, file);
  const found = await parallel([...entries.values()], 16, async ({ name, path, profile, line }) => {
    const started = await whyNotStarted(context.files, path);
    const allowed = await scriptPath(context, settings, path);
    // What is not trusted has its warning already.
    const isTrustFault = allowed.isErr() && 'field' in allowed.error && allowed.error.field === 'file_trust';
    const isElsewhere = allowed.isErr() && !isTrustFault;
    const why =
      started ?? (isElsewhere ? `${allowed.error.message}: move it there, or add its directory` : undefined);
    return [
      ...(why === undefined ? [] : [`${at(file, line)}: ${name} cannot be run: ${why}`]),
      ...(profile === undefined
        ? []
        : [`${at(file, line)}: profile=${profile} is not enforced: ${name} runs as the user of this agent`]),
    ];
  });
  return [...warnings, ...found.flat()];
}
