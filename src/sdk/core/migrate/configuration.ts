import { at, contentLines, parseConfiguration } from '../../../domain/core/configuration.js';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import { printable } from '../../../domain/core/names.js';
import {
  describeNote,
  settingDifferences,
  type TakenConfiguration,
} from '../../../domain/legacy/configuration.js';
import type { ImportLines } from '../../../domain/legacy/import-report.js';
import type { DispatcherSettings } from '../../../domain/settings/dispatcher.js';
import type { FileSystem } from '../../../ports/file-system.js';
import { maxFile } from '../place.js';
import type { Sources } from './directory.js';

/** What becomes of a configuration. */
export interface PlannedConfiguration<S = Pick<DispatcherSettings, 'file' | 'fileTrustConfigured'>> {
  /** The file as it is to be; undefined: it stays. */
  readonly text: string | undefined;
  /** Without the changes of this import. */
  readonly before: string;
  /** What holds afterwards. */
  readonly settings: S;
}

/**
 * Looks at the configuration here (`ours`) and there, and says what becomes of it. `remarks`: what there is to say of the lines of
 * the other installation, where these hold from now on. `shown`: the file whose lines people can look at.
 * @param except keys in which a difference does not count
 */
export const beginConfiguration = (
  files: FileSystem,
  ours: string,
  { configuration, directory: { inPlace }, placeKeys }: Sources,
  except: readonly string[],
  lines: ImportLines,
) =>
  files.readText(ours, maxFile).map((present) => {
    const taken = present === undefined ? configuration : undefined;
    if (present !== undefined) lines.kept.push({ what: 'configuration', detail: `${ours} stays as it is` });
    else if (taken)
      lines.imported.push({
        what: 'configuration',
        detail: `${ours} from ${taken.path}; its ${[...placeKeys].join(', ')} do not count here`,
      });
    if (present !== undefined && configuration && !inPlace)
      for (const detail of notTaken(configuration, present, ours, new Set([...placeKeys, ...except])))
        lines.kept.push({ what: 'setting', detail });
    const remarks =
      configuration && (taken || inPlace)
        ? [...configuration.taken.notes.map(describeNote(inPlace)), ...commentsInValues(configuration)]
        : [];
    const before = present ?? taken?.taken.text ?? '';
    return { present, before, taken: taken !== undefined, shown: taken?.path ?? ours, remarks };
  });

/**
 * What another installation's configuration says that the one that is here does not. A file that cannot be read at all is not
 * taken either: that it cannot is the one line then.
 */
const notTaken = (
  { path, taken }: NonNullable<Sources['configuration']>,
  present: string,
  ours: string,
  except: ReadonlySet<string>,
): readonly string[] =>
  parseConfiguration(taken.text, path)
    .andThen((theirs) =>
      parseConfiguration(present, ours).map((here) => settingDifferences(theirs, here, except)),
    )
    .match(
      (differences) => differences,
      ({ message }) => [message],
    );

/** Comments of another installation's configuration that it takes as part of a value, one line each. */
export const commentsInValues = ({
  path,
  taken,
}: {
  readonly path: string;
  readonly taken: TakenConfiguration;
}) =>
  contentLines(taken.text)
    .filter(({ text, comment }) => comment !== '' && text.includes('='))
    .map(
      ({ line, comment }) =>
        `${at(path, line)}: "${printable(comment, 80)}" is a comment now, and part of the value for older versions`,
    );

/** With what to do about it: nothing is left out silently of a file that may hold limits. */
export const correctFirst =
  (file: string) =>
  (error: CtrlExecError<'config_invalid'>): CtrlExecError<'config_invalid'> => ({
    ...error,
    message: `${error.message}; nothing was imported: write a corrected copy to ${file}, then import again`,
  });
