import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { dispatcherReading } from '../../../domain/legacy/configuration.js';
import { inDirectory } from '../../../domain/settings/fields.js';
import type { FileSystem } from '../../../ports/file-system.js';
import {
  directoryOf,
  type Found,
  firstFile,
  type ImportDirectory,
  liesIn,
  maxImportFile,
  openSources,
  placesOf,
  type Sources,
} from '../../core/migrate/directory.js';

const placeKeys: ReadonlySet<string> = new Set(['cert', 'key', 'ca', 'state_dir']);

/** The record of an agent, or why it could not be read. */
interface FoundRecord {
  readonly path: string;
  readonly fileName: string;
  readonly text: string | undefined;
  readonly reason?: string;
}

/** Everything that was found of a control host; nothing of it is judged yet. */
export interface ControlHostSources extends Sources {
  readonly caKey: Found;
  readonly ca: Found;
  /** Undefined: there was no identity. */
  readonly identity: { readonly key: Found; readonly certificate: Found } | undefined;
  /** Key pairs under the other name that identities have had. */
  readonly former: readonly { readonly key: Found; readonly certificate: Found }[];
  readonly rotation: Found | undefined;
  readonly agents: readonly FoundRecord[];
}

type SourceFailure = CtrlExecError<'file_failed' | 'ca_missing' | 'identity_missing'>;

/** Names of the identity, later versions first. */
const identityNames = ['dispatcher', 'ctrl-exec'] as const;

/** Reads what there is. Nothing is written. */
export function readControlHost(
  files: FileSystem,
  directory: ImportDirectory,
): ResultAsync<ControlHostSources, SourceFailure> {
  return safeTry<ControlHostSources, SourceFailure>(async function* () {
    const { sources, named, find } = yield* openSources(
      files,
      directory,
      'ctrl-exec.conf',
      dispatcherReading,
      placeKeys,
    );

    const ca = yield* firstFile(files, [
      ...named('ca', directory.configuration),
      ...placesOf(named('ca_dir', directory.configuration), 'ca.crt'),
      ...placesOf(directory.configuration, 'ca.crt'),
    ]);
    if (!ca)
      return err(
        failure('ca_missing', `there is no CA in ${directory.path}: expected ca.crt and ca.key`, {}),
      );
    const caDirectories = [
      directoryOf(ca.path),
      ...named('ca_dir', directory.configuration),
      ...directory.configuration,
    ];
    const caKey = yield* firstFile(files, placesOf(caDirectories, 'ca.key'));
    if (!caKey)
      return err(
        failure('ca_missing', `the key of the CA ${ca.path} is missing: expected ca.key beside it`, {}),
      );

    const certificate = yield* firstFile(files, [
      ...named('cert', directory.configuration),
      ...identityNames.flatMap((name) => placesOf(directory.configuration, `${name}.crt`)),
    ]);
    const beside = certificate?.path.replace(/\.[^./]*$/, '.key');
    const key = yield* firstFile(files, [
      ...named('key', directory.configuration),
      ...(beside === undefined ? [] : [beside]),
    ]);
    if ((certificate === undefined) !== (key === undefined)) {
      const [there, missing] = certificate ? [certificate.path, 'key'] : [key?.path, 'certificate'];
      return err(
        failure('identity_missing', `the ${missing} of ${there} is missing in ${directory.path}`, {
          role: 'dispatcher',
        }),
      );
    }
    return ok({
      ...sources,
      ca,
      caKey,
      identity: certificate && key && { key, certificate },
      former: yield* readFormer(files, directory, certificate?.path),
      rotation: yield* find('rotation_file', 'rotation.json', directory.state),
      agents: yield* readRecords(files, [
        ...named('registry_dir', directory.state),
        ...placesOf([...directory.state, ...directory.configuration], 'agents'),
      ]),
    });
  });
}

/** Hosts that were upgraded kept the pair under its former name. */
function readFormer(files: FileSystem, directory: ImportDirectory, present: string | undefined) {
  return safeTry<ControlHostSources['former'], CtrlExecError<'file_failed'>>(async function* () {
    const pairs: { key: Found; certificate: Found }[] = [];
    for (const name of identityNames) {
      const certificate = yield* firstFile(files, placesOf(directory.configuration, `${name}.crt`));
      const key = yield* firstFile(files, placesOf(directory.configuration, `${name}.key`));
      if (certificate && key && certificate.path !== present) pairs.push({ key, certificate });
    }
    return ok(pairs);
  });
}

/** The records in the first of these directories that is there and holds any. */
function readRecords(files: FileSystem, directories: readonly string[]) {
  return safeTry<readonly FoundRecord[], CtrlExecError<'file_failed'>>(async function* () {
    for (const directory of new Set(directories)) {
      const listed = await files.list(directory);
      if (listed.isErr() && listed.error.reason === 'ENOTDIR') continue;
      const names = ((yield* listed) ?? []).filter((name) => /^[^.].*\.json$/.test(name));
      if (names.length === 0) continue;
      const records: FoundRecord[] = [];
      for (const fileName of names) {
        const path = inDirectory(directory, fileName);
        const read = await files.readText(path, maxImportFile);
        records.push({
          path,
          fileName,
          text: read.unwrapOr(undefined),
          ...(read.isErr() && { reason: `it cannot be read (${read.error.reason})` }),
        });
      }
      return ok(records);
    }
    return ok([]);
  });
}

/** Files that a setting names and that will not be there, or not for long. */
export async function strandedFiles(
  files: FileSystem,
  { directory, configuration }: Sources,
  keys: readonly string[],
): Promise<readonly string[]> {
  const warnings: string[] = [];
  for (const key of keys) {
    const entry = configuration?.taken.settings.get(key);
    if (!configuration || !entry?.value.startsWith('/')) continue;
    const where = `${configuration.path}:${entry.line}: ${key}`;
    if ((await files.realPath(entry.value)).isErr())
      warnings.push(`${where} names ${entry.value}, which does not exist on this host`);
    else if (!directory.inPlace && liesIn(entry.value, directory.path))
      warnings.push(`${where} names ${entry.value}, which stays in the other installation: move it along`);
  }
  return warnings;
}
