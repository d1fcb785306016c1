import { ok, type ResultAsync, safeTry } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import type { JudgedPath } from '../../../domain/core/file-trust.js';
import type { ImportLines } from '../../../domain/legacy/import-report.js';
import { parseAllowlist } from '../../../domain/runs/allowlist.js';
import type { AgentSettings } from '../../../domain/settings/agent.js';
import type { PlannedConfiguration } from '../../core/migrate/configuration.js';
import { type PlannedOwnership, planOwnership } from '../../core/migrate/ownership.js';
import { maxFile } from '../../core/place.js';
import { judge } from '../../core/trusted-files.js';
import type { AgentContext } from '../context.js';
import { judgeFiles } from '../trust/trusted-files.js';

/** What there is against every file that an agent believes, the scripts of its allowlist among them. */
export function judgeAll(
  context: AgentContext,
  settings: AgentSettings,
  allowlist: string,
): ResultAsync<readonly JudgedPath[], CtrlExecError<'file_failed'>> {
  const { entries } = parseAllowlist(allowlist, settings.scriptsConf);
  const scripts = [...entries.values()].map(({ path }) => path);
  return judgeFiles(context, settings, true).andThen((files) =>
    judge(context.files, scripts).map((judged) => [...files, ...judged]),
  );
}

/**
 * What an import does about files that somebody else decides about. Only root minds.
 * @param allowlist as it is going to be, where that changes
 */
export function planFileTrust(
  context: AgentContext,
  configuration: PlannedConfiguration<AgentSettings>,
  allowlist: string | undefined,
  inPlace: boolean,
  lines: ImportLines,
): ResultAsync<PlannedOwnership, CtrlExecError<'file_failed'>> {
  const { files, place } = context;
  const { settings } = configuration;
  return safeTry<PlannedOwnership, CtrlExecError<'file_failed'>>(async function* () {
    if (place.fileTrust === 'warn') return ok({ taken: [], configuration: configuration.text });
    const text = allowlist ?? (yield* files.readText(settings.scriptsConf, maxFile));
    const judged = yield* judgeAll(context, settings, text ?? '');
    const candidates = (yield* judgeFiles(context, settings, true)).map(({ path }) => path);
    const own = inPlace ? [settings.home, settings.stateDir] : [];
    return ok(await planOwnership(files, judged, { own, candidates }, configuration, lines));
  });
}
