import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import {
  type Reading,
  type TakenConfiguration,
  takeConfiguration,
} from '../../../domain/legacy/configuration.js';
import { inDirectory } from '../../../domain/settings/fields.js';
import type { FileSystem } from '../../../ports/file-system.js';

/** Bytes of a file of the other installation that are read. */
export const maxImportFile = 1024 * 1024;

/** Where the other installation is looked for. All absolute, with every link resolved. */
export interface ImportDirectory {
  /** The directory that was named. */
  readonly path: string;
  /** It is this installation's own home: what is already in its place stays there. */
  readonly inPlace: boolean;
  /** Where configuration, keys and certificates may lie, likeliest first. */
  readonly configuration: readonly string[];
  /** The same for registry, trust and rotation state. */
  readonly state: readonly string[];
  /** Whether a path that a configuration there names is to be believed, though it lies elsewhere. */
  readonly believes: (path: string) => boolean;
}

/** This installation. */
export interface ImportHome {
  readonly home: string;
  readonly stateDir: string;
  readonly configurationFile: string;
}

/** A file of the other installation. */
export interface Found {
  readonly path: string;
  readonly text: string;
}

type OpenFailure = CtrlExecError<'file_failed' | 'invalid_argument'>;

const invalid = (field: string, reason: string) =>
  failure('invalid_argument', `${field}: ${reason}`, { field, reason });

export const directoryOf = (path: string): string => path.slice(0, Math.max(1, path.lastIndexOf('/')));
const nameOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);
export const liesIn = (path: string, directory: string): boolean =>
  path.startsWith(directory === '/' ? '/' : `${directory}/`);

/**
 * Finds out where things are. The directory is the other installation's configuration directory with its state beside it
 * (`/etc/…` and `/var/lib/…`, also below another root), the root of such a copy, or one directory with everything.
 * @param program whose directories are meant, as they are called under `/etc` and `/var/lib`
 */
export function openImportDirectory(
  files: FileSystem,
  program: 'ctrl-exec' | 'ctrl-exec-agent',
  named: { readonly directory: string; readonly state?: string | undefined },
  own: ImportHome,
): ResultAsync<ImportDirectory, OpenFailure> {
  return safeTry<ImportDirectory, OpenFailure>(async function* () {
    const path = yield* existing(files, 'DIR', named.directory);
    const state = named.state === undefined ? undefined : yield* existing(files, '--state', named.state);
    const home = await realOrSame(files, own.home);
    const inPlace = home === path;
    if (!inPlace) {
      const configuration = await realOrSame(files, own.configurationFile);
      const [taken] = [home, configuration, await realOrSame(files, own.stateDir)].filter((each) =>
        liesIn(each, path),
      );
      if (taken !== undefined)
        return err(
          invalid('DIR', `nothing in ${path} is changed, and ${taken} of this installation lies in it`),
        );
    }
    const standard = { configuration: `/etc/${program}`, state: `/var/lib/${program}` };
    const root = path.endsWith(standard.configuration)
      ? path.slice(0, -standard.configuration.length)
      : undefined;
    return ok({
      path,
      inPlace,
      configuration: [path, inDirectory(path, standard.configuration.slice(1))],
      state:
        state === undefined
          ? [
              ...(inPlace ? [await realOrSame(files, own.stateDir)] : []),
              ...(root === undefined ? [] : [root + standard.state]),
              inDirectory(path, standard.state.slice(1)),
              inDirectory(path, 'state'),
              path,
            ]
          : [state],
      // A copy from another host names the places of that host: here they are another installation's.
      believes: (each: string) =>
        liesIn(each, path) ||
        root === '' ||
        !Object.values(standard).some((directory) => liesIn(each, directory)),
    });
  });
}

/** The real path of a directory that is there. */
function existing(files: FileSystem, field: string, path: string): ResultAsync<string, OpenFailure> {
  const none = () => invalid(field, `${path} is not a directory`);
  const gone = (error: CtrlExecError<'file_failed'>): OpenFailure =>
    ['ENOENT', 'ENOTDIR'].includes(error.reason) ? none() : error;
  return files
    .realPath(path)
    .andThen((real) => files.list(real).map((names) => ({ real, names })))
    .mapErr(gone)
    .andThen(({ real, names }) => (names === undefined ? err(none()) : ok(real)));
}

/** With links resolved as far as the path exists. */
async function realOrSame(files: FileSystem, path: string): Promise<string> {
  const real = await files.realPath(path);
  if (real.isOk() || path === '/' || !path.startsWith('/')) return real.unwrapOr(path);
  return inDirectory(await realOrSame(files, directoryOf(path)), nameOf(path));
}

/** The first file of these that is there. */
export function firstFile(
  files: FileSystem,
  paths: readonly string[],
): ResultAsync<Found | undefined, CtrlExecError<'file_failed'>> {
  return safeTry<Found | undefined, CtrlExecError<'file_failed'>>(async function* () {
    for (const path of new Set(paths)) {
      const text = yield* files.readText(path, maxImportFile);
      if (text !== undefined) return ok({ path, text });
    }
    return ok(undefined);
  });
}

/** What was found of an installation, whichever; nothing of it is judged yet. */
export interface Sources {
  readonly directory: ImportDirectory;
  readonly configuration: (Found & { readonly taken: TakenConfiguration }) | undefined;
  /** Keys that say where the files of an installation lie: the other one's mean nothing here. */
  readonly placeKeys: ReadonlySet<string>;
}

/** Reads the configuration `file`, if there is one; `find` looks for what a key of it names, else for `name`. */
export const openSources = (
  files: FileSystem,
  directory: ImportDirectory,
  file: string,
  reading: Reading,
  placeKeys: ReadonlySet<string>,
) =>
  firstFile(files, placesOf(directory.configuration, file)).map((found) => {
    const taken = found && takeConfiguration(found.text, found.path, reading, placeKeys);
    const named = (key: string, among: readonly string[]) =>
      configuredPlaces(directory, taken?.settings.get(key)?.value, among);
    const find = (key: string, name: string, among = directory.configuration) =>
      firstFile(files, [...named(key, among), ...placesOf(among, name)]);
    const configuration = found && taken && { ...found, taken };
    return { sources: { directory, configuration, placeKeys } satisfies Sources, named, find };
  });

/** Where what a configuration there names may lie: below the directory first, then the very place. */
function configuredPlaces(
  directory: ImportDirectory,
  configured: string | undefined,
  among: readonly string[],
): readonly string[] {
  if (configured === undefined || configured === '') return [];
  const absolute = configured.startsWith('/');
  const inside = absolute && liesIn(configured, directory.path) ? [configured] : [];
  const beside = among.map((each) => inDirectory(each, nameOf(configured)));
  return [...inside, ...beside, ...(absolute && directory.believes(configured) ? [configured] : [])];
}

/** These names in each of these directories. */
export const placesOf = (directories: readonly string[], ...names: readonly string[]): readonly string[] =>
  names.flatMap((name) => directories.map((directory) => inDirectory(directory, name)));
