import type { Result } from 'neverthrow';
import { at, contentLines, parseConfiguration } from '../../../domain/core/configuration.js';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import { printable } from '../../../domain/core/names.js';
import { settingDifferences, type TakenConfiguration } from '../../../domain/legacy/configuration.js';

/**
 * What another installation's configuration says that the one that is here does not. A file that cannot be read at all is not
 * taken either: that it cannot is the one line then.
 */
export function notTaken(
  theirs: { readonly path: string; readonly taken: TakenConfiguration },
  ours: { readonly path: string; readonly text: string },
  except: ReadonlySet<string>,
): readonly string[] {
  const parsed: Result<readonly string[], CtrlExecError<'config_invalid'>> = parseConfiguration(
    theirs.taken.text,
    theirs.path,
  ).andThen((read) =>
    parseConfiguration(ours.text, ours.path).map((present) => settingDifferences(read, present, except)),
  );
  return parsed.match(
    (differences) => differences,
    (error) => [error.message],
  );
}

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
