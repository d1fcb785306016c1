import { ok, type ResultAsync, safeTry } from 'neverthrow';
import { editConfiguration } from '../../domain/core/configuration.js';
import type { CtrlExecError } from '../../domain/core/errors.js';
import { fileTrustWritten } from '../../domain/core/file-trust.js';
import { maxFile } from '../core/place.js';
import { judge } from '../core/trusted-files.js';
import type { AgentContext } from './context.js';
import { judgeAll } from './migrate/file-trust.js';
import { loadSettings } from './state/state.js';

/**
 * Writes `file_trust = warn` into the configuration of a home that version 0.1 made, where `strict` would refuse something of it:
 * what worked until then works on, with warnings. Where somebody else decides about the state directory nothing is written,
 * because he can make any home look like an old one.
 */
export function upgradeFileTrust(context: AgentContext): ResultAsync<void, CtrlExecError> {
  const { events, files, place } = context;
  return safeTry<void, CtrlExecError>(async function* () {
    const { settings } = yield* loadSettings(context);
    if (settings.fileTrustConfigured || settings.fileTrust === 'warn') return ok(undefined);
    const allowlist = yield* files.readText(settings.scriptsConf, maxFile);
    const judged = yield* judgeAll(context, settings, allowlist ?? '');
    const faults = judged.flatMap((path) => path.faults);
    // What is refused always is not helped by the line.
    if (faults.every(({ severity }) => severity === 'always')) return ok(undefined);
    const keyStore = context.keyStore(settings);
    const kept = yield* keyStore.read(['agent-certificate', 'trust-origins']);
    if (kept['agent-certificate'] === undefined || kept['trust-origins'] !== undefined) return ok(undefined);
    const evidence = yield* judge(files, [keyStore.location('trust-origins')]);
    if (/* defence: old-home-is-proven */ evidence.some((path) => path.faults.length > 0))
      return ok(undefined);
    const file = place.configurationFile;
    const text = yield* files.readText(file, maxFile);
    yield* files.replace(file, editConfiguration(text ?? '', 'file_trust', 'warn'), 0o640);
    const reason = fileTrustWritten(file);
    events.emit({ action: 'warning', level: 'warning', fields: { reason } });
    return ok(undefined);
  });
}
