import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { agentReading } from '../../../domain/legacy/configuration.js';
import type { FileSystem } from '../../../ports/file-system.js';
import {
  directoryOf,
  type Found,
  firstFile,
  type ImportDirectory,
  openSources,
  placesOf,
  type Sources,
} from '../../core/migrate/directory.js';

const placeKeys: ReadonlySet<string> = new Set([
  'cert',
  'key',
  'ca',
  'state_dir',
  'revoked_serials',
  'trusted_dispatchers_path',
  'async_runs_dir',
]);

/** Everything that was found of an agent; nothing of it is judged yet. */
export interface AgentHostSources extends Sources {
  readonly allowlist: Found | undefined;
  readonly key: Found;
  readonly certificate: Found;
  /** A renewed certificate that the other installation would take at its next start. */
  readonly staged: Found | undefined;
  readonly ca: Found;
  /** `ctrl-exec-dispatchers` (0.9 and later). */
  readonly dispatchers: Found | undefined;
  /** `ctrl-exec-serial` (0.8). */
  readonly serial: Found | undefined;
  readonly revoked: Found | undefined;
}

type SourceFailure = CtrlExecError<'file_failed' | 'identity_missing'>;

/** Reads what there is. Nothing is written. */
export function readAgentHost(
  files: FileSystem,
  directory: ImportDirectory,
): ResultAsync<AgentHostSources, SourceFailure> {
  return safeTry<AgentHostSources, SourceFailure>(async function* () {
    const among = directory.configuration;
    const both = [...directory.state, ...among];
    const { sources, find } = yield* openSources(files, directory, 'agent.conf', agentReading, placeKeys);
    const key = yield* find('key', 'agent.key');
    const certificate = yield* find('cert', 'agent.crt');
    const ca = yield* find('ca', 'ca.crt');
    if (!key || !certificate || !ca) {
      const missing = Object.entries({ 'agent.key': key, 'agent.crt': certificate, 'ca.crt': ca }).flatMap(
        ([name, file]) => (file ? [] : [name]),
      );
      const reason = `there is no paired agent in ${directory.path}: ${missing.join(', ')} missing`;
      return err(failure('identity_missing', reason, { role: 'agent' }));
    }
    return ok({
      ...sources,
      allowlist: yield* firstFile(
        files,
        placesOf([directoryOf(sources.configuration?.path ?? key.path), ...among], 'scripts.conf'),
      ),
      key,
      certificate,
      staged: yield* find('cert_staging_path', 'agent.crt.staged', both),
      ca,
      dispatchers: yield* find('trusted_dispatchers_path', 'ctrl-exec-dispatchers', both),
      serial: yield* find('dispatcher_serial_path', 'ctrl-exec-serial', [...among, ...directory.state]),
      revoked: yield* find('revoked_serials', 'revoked-serials'),
    });
  });
}
