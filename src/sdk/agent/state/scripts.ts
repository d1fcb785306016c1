import { err, ok, okAsync, type ResultAsync, safeTry } from 'neverthrow';
import { hex, utf8 } from '../../../domain/core/bytes.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { believe } from '../../../domain/core/file-trust.js';
import { printable } from '../../../domain/core/names.js';
import { isActionPath } from '../../../domain/runs/action.js';
import { type AllowlistEntry, withinDirectories } from '../../../domain/runs/allowlist.js';
import {
  interpreterPlaces,
  lacksInterpreter,
  programHead,
  programPath,
} from '../../../domain/runs/interpreter.js';
import { parseSidecar, type Sidecar, sidecarLimit } from '../../../domain/runs/sidecar.js';
import type { AgentSettings } from '../../../domain/settings/agent.js';
import { parallel } from '../../core/parallel.js';
import { judge } from '../../core/trusted-files.js';
import type { AgentContext } from '../context.js';

/** An allowlisted script, or an action, and what its sidecar says about it (wire-protocol 1.8). */
export interface Script {
  readonly name: string;
  readonly path: string;
  readonly profile: string | undefined;
  readonly schema: Readonly<Record<string, unknown>> | undefined;
  readonly schemaVersion: string | undefined;
}

interface Loaded {
  readonly scripts: ReadonlyMap<string, Script>;
  readonly warnings: readonly string[];
  /** Warnings about scripts that another account can change. */
  readonly distrusted: readonly string[];
}

/** Reads the sidecars and checks the directories; what is wrong with one script costs only that script. */
export async function readScripts(
  context: AgentContext,
  settings: AgentSettings,
  entries: readonly AllowlistEntry[],
): Promise<Loaded> {
  const scripts = new Map<string, Script>();
  const warnings: string[] = [];
  const distrusted: string[] = [];
  const at = (entry: AllowlistEntry) => `${settings.scriptsConf}:${entry.line}`;
  const read = await parallel(entries, 16, async (entry) => {
    const allowed = await judgeScript(context, settings, entry.path);
    // A script that is not there yet may come; one that lies elsewhere is a mistake in the allowlist.
    if (allowed.isErr() && allowed.error.code === 'invalid_argument')
      return { entry, skipped: allowed.error.message };
    const doubts = allowed.map(({ warnings }) => warnings).unwrapOr([]);
    return { entry, doubts, sidecar: await readSidecar(context, entry.path) };
  });
  for (const { entry, skipped, sidecar, doubts } of read) {
    const { name, path, profile } = entry;
    if (sidecar === undefined) {
      warnings.push(`${at(entry)}: skipped, ${skipped}`);
      continue;
    }
    distrusted.push(...doubts.map((doubt) => `${at(entry)}: ${doubt}`));
    if (profile !== undefined) warnings.push(`${at(entry)}: profile=${profile} is read but not enforced yet`);
    if (sidecar.isErr()) warnings.push(`${path}.schema.json: not advertised: ${sidecar.error}`);
    scripts.set(name, { name, path, profile, ...schemaOf(context.crypto, sidecar.unwrapOr(undefined)) });
  }
  return { scripts, warnings, distrusted };
}

/** A script that may be run, and what is to be said about it all the same. */
interface JudgedScript {
  readonly path: string;
  /** One line each. */
  readonly warnings: readonly string[];
}

/** `invalid_argument`: another account can change it, or it lies outside of `script_dirs`. */
function judgeScript(
  { files }: Pick<AgentContext, 'files'>,
  { fileTrust, scriptDirs }: AgentSettings,
  path: string,
): ResultAsync<JudgedScript, CtrlExecError<'file_failed' | 'invalid_argument'>> {
  const refused = (field: string, reason: string) => failure('invalid_argument', reason, { field, reason });
  if (isActionPath(path)) return okAsync({ path, warnings: [] });
  return safeTry(async function* () {
    const judged = yield* judge(files, [path]);
    const warnings = yield* /* defence: script-is-trusted */ believe(judged, fileTrust).mapErr(
      ({ message }) => refused('file_trust', message),
    );
    if (scriptDirs === undefined) return ok({ path, warnings });
    const real = yield* files.realPath(path);
    const directories = await Promise.all(scriptDirs.map((directory) => files.realPath(directory)));
    const existing = directories.flatMap((directory) => (directory.isOk() ? [directory.value] : []));
    return /* defence: script-is-within-directories */ withinDirectories(real, existing)
      ? ok({ path: real, warnings })
      : err(refused('script_dirs', `${real} is not in any of script_dirs`));
  });
}

/**
 * What to execute for an allowlisted path that may be run now: the path itself, or, where `script_dirs` is set, the real path that
 * was found to lie in one of them, so that a link that changes afterwards changes nothing. An action lies nowhere.
 */
export const scriptPath = (
  context: Pick<AgentContext, 'files'>,
  settings: AgentSettings,
  path: string,
): ResultAsync<string, CtrlExecError<'file_failed' | 'invalid_argument'>> =>
  judgeScript(context, settings, path).map((judged) => judged.path);

function readSidecar({ files }: AgentContext, path: string): ResultAsync<Sidecar | undefined, string> {
  return files
    .readText(`${path}.schema.json`, sidecarLimit)
    .mapErr((error) => (error.reason === 'EFBIG' ? `larger than ${sidecarLimit} bytes` : error.message))
    .andThen((text) => (text === undefined ? ok(undefined) : parseSidecar(text)));
}

/** What is advertised of a sidecar, with its version. */
export function schemaOf(
  crypto: AgentContext['crypto'],
  sidecar: Sidecar | undefined,
): Pick<Script, 'schema' | 'schemaVersion'> {
  if (sidecar === undefined) return { schema: undefined, schemaVersion: undefined };
  const { schema, version } = sidecar;
  const digest = (text: string) => `sha256:${hex(crypto.sha256(utf8(text))).slice(0, 12)}`;
  return { schema, schemaVersion: version.kind === 'own' ? version.text : digest(version.canonical) };
}

/** Why this cannot be started, and what to do about it. Of what may be executed but not read nothing more is known. */
export async function whyNotStarted(files: AgentContext['files'], path: string): Promise<string | undefined> {
  const head = await files.head(path, programHead);
  const reason = head.isErr() ? head.error.reason : undefined;
  if (reason === 'ENOENT' || reason === 'ENOTDIR')
    return `${path} does not exist: put it there, or correct its path`;
  if (reason === 'EISDIR' || reason === 'EINVAL') return `${path} is not a file: correct its path`;
  if (!(await files.isExecutable(path).unwrapOr(false)))
    return `${path} is not executable for this user: chmod +x, and look at the directories above it`;
  if (head.isErr()) return undefined;
  if (lacksInterpreter(head.value))
    return `${path} does not begin with #!: its first line must name the interpreter, like #!/bin/sh`;
  for (const { name, places } of interpreterPlaces(head.value)) {
    const found = await Promise.all(places.map((place) => files.isExecutable(place).unwrapOr(false)));
    if (!found.includes(true))
      return `${path} needs ${printable(name)}, which ${
        places.length === 1 ? 'does not exist or is not executable' : `is in no directory of ${programPath}`
      }: install it, or correct the #! line`;
  }
  return undefined;
}
