import { ok, type ResultAsync, safeTry } from 'neverthrow';
import { editConfiguration } from '../../../domain/core/configuration.js';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import { type FileFault, faultText, type JudgedPath } from '../../../domain/core/file-trust.js';
import type { ImportLines } from '../../../domain/legacy/import-report.js';
import type { FileSystem } from '../../../ports/file-system.js';
import type { PlannedConfiguration } from './configuration.js';
import { directoryOf, liesIn } from './directory.js';

/** What an import does about files that another account can change. */
export interface PlannedOwnership {
  /** Files and directories that become this account's own, in this order. */
  readonly taken: readonly string[];
  /** The configuration, which may get the line `file_trust = warn`; undefined: it stays. */
  readonly configuration: string | undefined;
}

/** Carries it out, and writes files whose text changes. */
export const takeOver = (
  files: FileSystem,
  taken: readonly string[],
  texts: Readonly<Record<string, string | undefined>>,
): ResultAsync<void, CtrlExecError<'file_failed'>> =>
  safeTry(async function* () {
    for (const path of taken) yield* files.takeOwnership(path);
    for (const [path, text] of Object.entries(texts)) {
      if (text === undefined) continue;
      yield* files.makeDirectory(directoryOf(path), 0o700);
      yield* files.replace(path, text, 0o640);
    }
    return ok(undefined);
  });

/**
 * Says in the lines what becomes of the files.
 * @param own directories that are taken over where they are, with these `candidates` in them: each directory before what lies in it
 */
export async function planOwnership(
  files: FileSystem,
  judged: readonly JudgedPath[],
  { own, candidates }: { readonly own: readonly string[]; readonly candidates: readonly string[] },
  { text, before, settings: { file, fileTrustConfigured } }: PlannedConfiguration,
  lines: ImportLines,
): Promise<PlannedOwnership> {
  const faults = new Map<string, FileFault>();
  for (const fault of judged.flatMap((path) => path.faults)) faults.set(fault.path, fault);
  const taken: string[] = [];
  for (const path of new Set([...own, ...candidates])) {
    if (!faults.has(path) || !own.some((directory) => path === directory || liesIn(path, directory)))
      continue;
    // A link is not taken over: its owner can let it lead anywhere.
    if ((await files.realPath(path)).unwrapOr(undefined) !== path) continue;
    faults.delete(path);
    taken.push(path);
    lines.imported.push({
      what: 'owner',
      detail: `this user becomes the owner of ${path}, and nobody else can write it`,
    });
  }
  lines.warnings.push(...[...faults.values()].map((fault) => `not trusted: ${faultText(fault)}`));
  const warns = faults.size > 0 && !fileTrustConfigured;
  if (warns)
    lines.imported.push({
      what: 'file_trust',
      detail: `${file} gets the line file_trust = warn. Heal what the warnings name, then remove the line`,
    });
  return { taken, configuration: warns ? editConfiguration(text ?? before, 'file_trust', 'warn') : text };
}
