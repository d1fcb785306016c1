import { errAsync, ok, type ResultAsync, safeTry } from 'neverthrow';
import {
  configInvalid,
  type ParsedConfiguration,
  parseConfiguration,
} from '../../domain/core/configuration.js';
import type { CtrlExecError } from '../../domain/core/errors.js';
import { believe, type FileTrust } from '../../domain/core/file-trust.js';
import type { FileSystem } from '../../ports/file-system.js';
import { maxFile } from './place.js';
import { judge } from './trusted-files.js';

/** Where a configuration file is. */
export interface ConfigurationPlace {
  readonly file: string;
  /** Whether it is an error that it is not there. */
  readonly required: boolean;
  /** How the file itself is judged, whatever it says: who can write it could write `file_trust = warn` into it. */
  readonly fileTrust: FileTrust;
}

/** Judges a configuration file, then reads it. `parsed` undefined: there is none. */
export function readConfiguration(
  files: FileSystem,
  { file, required, fileTrust }: ConfigurationPlace,
): ResultAsync<ParsedConfiguration | undefined, CtrlExecError> {
  return safeTry<ParsedConfiguration | undefined, CtrlExecError>(async function* () {
    const judged = yield* judge(files, [file]);
    yield* /* defence: configuration-is-trusted */ believe(judged, fileTrust);
    const text = yield* files.readText(file, maxFile);
    if (text !== undefined) return parseConfiguration(text, file);
    if (!required) return ok(undefined);
    const missing = configInvalid(file, undefined, 'the configuration file does not exist');
    return errAsync({ ...missing, reason: 'missing' });
  });
}
