import { ok, ResultAsync, safeTry } from 'neverthrow';
import { editConfiguration } from '../../../domain/core/configuration.js';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import { believe, fileTrustWritten, type JudgedPath } from '../../../domain/core/file-trust.js';
import type { DispatcherSettings } from '../../../domain/settings/dispatcher.js';
import { maxFile } from '../../core/place.js';
import { judge, judgeBelow } from '../../core/trusted-files.js';
import type { DispatcherContext } from '../context.js';

type Files = Pick<DispatcherContext, 'files' | 'keyStore'>;

/** What there is against the files by which a dispatcher decides. */
export function judgeFiles(
  { files, keyStore }: Files,
  { apiCert, apiKey, authHook, file, stateDir }: DispatcherSettings,
): ResultAsync<readonly JudgedPath[], CtrlExecError<'file_failed'>> {
  const named = [apiCert, apiKey, authHook].flatMap((path) => (path === undefined ? [] : [path]));
  return ResultAsync.combine([
    judge(files, [file, ...named, .../* defence: dispatcher-keys-are-trusted */ keyStore.paths()]),
    // The store and the locks.
    /* defence: dispatcher-state-is-trusted */ judgeBelow(files, stateDir, 1),
  ]).map((judged) => judged.flat());
}

/** Settings that hold, and whether the files may be believed. */
export interface JudgedDispatcher {
  readonly settings: DispatcherSettings;
  /** One line each. */
  readonly warnings: readonly string[];
  /** Why nothing of it may be believed. */
  readonly distrust: CtrlExecError | undefined;
}

/**
 * Judges the files. In the configuration of a home that an older version made it writes `file_trust = warn` where `strict` would
 * refuse something: what worked until then works on, with warnings. Where somebody else decides about the store nothing is
 * written, because he can make any home look like an old one.
 */
export function trustDispatcher(
  ports: Files,
  settings: DispatcherSettings,
  store: { readonly path: string; isOlder(): Promise<boolean> },
): ResultAsync<JudgedDispatcher, CtrlExecError<'file_failed'>> {
  return safeTry<JudgedDispatcher, CtrlExecError<'file_failed'>>(async function* () {
    const judged = yield* judgeFiles(ports, settings);
    const believed = believe(judged, settings.fileTrust);
    if (believed.isOk()) return ok({ settings, warnings: believed.value, distrust: undefined });
    const tolerated = believe(judged, 'warn');
    const evidence = yield* judge(ports.files, [store.path]);
    if (
      tolerated.isErr() ||
      settings.fileTrustConfigured ||
      /* defence: old-store-is-proven */ evidence.some(({ faults }) => faults.length > 0) ||
      !(await store.isOlder())
    )
      return ok({ settings, warnings: [], distrust: believed.error });
    const { file } = settings;
    const text = yield* ports.files.readText(file, maxFile);
    yield* ports.files.replace(file, editConfiguration(text ?? '', 'file_trust', 'warn'), 0o640);
    return ok({
      settings: { ...settings, fileTrust: 'warn' as const },
      warnings: [fileTrustWritten(file), ...tolerated.value],
      distrust: undefined,
    });
  });
}
