import { err, ok, type Result } from 'neverthrow';
import { hex, utf8 } from '../../domain/core/bytes.js';
import { accountNumber } from '../../domain/core/file-access.js';
import { type FileChange, isUnchanged } from '../../domain/deploy/plan.js';
import {
  isWithin,
  newFileMode,
  type TargetDefaults,
  whyNotInPlace,
  whyNotMode,
  whyNotOwner,
  whyNotPath,
} from '../../domain/deploy/policy.js';
import { isSecret, type WantedFile } from '../../domain/deploy/targets/target.js';
import type { DeployContext } from './context.js';
import { whyNotReplaceable } from './replaceable.js';

/** A file that a target wants, and what has to change for it. */
export interface LookedAt {
  readonly wanted: WantedFile;
  readonly change: FileChange;
}

/** What is at the places of the wanted files, if this host allows that they are written. The error is a reason. */
export async function lookAtAll(
  context: DeployContext,
  defaults: TargetDefaults,
  files: readonly WantedFile[],
): Promise<Result<readonly LookedAt[], string>> {
  const named = [...defaults.directories, ...context.policy.paths];
  const resolved = await Promise.all(
    named.map((path) => context.deploymentFiles.realDirectory(path).unwrapOr(undefined)),
  );
  const directories = resolved.filter((path) => path !== undefined);
  const looked: LookedAt[] = [];
  for (const wanted of files) {
    const change = await lookAt(context, { named, directories }, wanted);
    if (change.isErr()) return err(change.error);
    if (looked.some((other) => other.change.path === change.value.path))
      return err(`${change.value.path} is meant by two of the configured paths`);
    looked.push({ wanted, change: change.value });
  }
  return replaceable(context, looked);
}

interface Allowed {
  /** As they are written. */
  readonly named: readonly string[];
  /** With every link resolved. */
  readonly directories: readonly string[];
}

async function lookAt(
  context: DeployContext,
  { named, directories }: Allowed,
  wanted: WantedFile,
): Promise<Result<FileChange, string>> {
  const { deploymentFiles, policy } = context;
  const found = await deploymentFiles.look(wanted.path);
  // Outside of what is allowed the answer is the same whatever is there.
  const isNamed = isWithin(wanted.path, [...named, ...directories]);
  if (found.isErr()) return err(isNamed ? found.error.message : whyNotPath(policy, wanted.path));
  const { path, state } = found.value;
  // defence: pull-writes-where-allowed
  if (!isWithin(path, directories)) return err(whyNotPath(policy, isNamed ? path : wanted.path));
  if (wanted.within !== undefined) {
    const directory = await deploymentFiles.realDirectory(wanted.within);
    if (directory.isErr()) return err(directory.error.message);
    if (!isWithin(path, [directory.value]))
      return err(`${wanted.path} is a link that leads out of ${wanted.within}`);
  }
  const secret = isSecret(wanted);
  const mode = wanted.mode === undefined ? undefined : whyNotMode(policy, path, wanted.mode, secret);
  if (mode !== undefined) return err(mode);
  const owner =
    (await whyNotAccount(context, '/etc/passwd', wanted.owner, state?.uid)) ??
    (await whyNotAccount(context, '/etc/group', wanted.group, state?.gid));
  if (owner !== undefined) return err(owner);
  const inPlace = policy.inPlace.includes(path) || policy.inPlace.includes(wanted.path);
  const content = utf8(wanted.content);
  if (state?.isMounted === true && !inPlace && !isUnchanged(state, content))
    return err(whyNotInPlace(policy, path));
  return ok({
    path,
    content,
    mode: wanted.mode ?? state?.mode ?? newFileMode(policy, secret),
    owner: wanted.owner ?? state?.uid,
    group: wanted.group ?? state?.gid,
    before: state,
    ...(inPlace ? { inPlace } : {}),
  });
}

/** Why a configured owner or group must not be given: it is neither root nor that of the file, and the policy does not name it. */
async function whyNotAccount(
  { files, policy }: DeployContext,
  database: string,
  account: string | undefined,
  present: number | undefined,
): Promise<string | undefined> {
  if (account === undefined) return undefined;
  const text = (await files.readText(database, 1024 * 1024)).unwrapOr(undefined) ?? '';
  const number = accountNumber(text, account);
  if (number === undefined) return `${database} knows no ${account}`;
  const owners = policy.owners.map((owner) => accountNumber(text, owner));
  // defence: pull-gives-to-known-owners
  if (number !== 0 && number !== present && !owners.includes(number)) return whyNotOwner(policy, account);
  return undefined;
}

/** All of them, if each that changes is ours, is empty, or holds now what it is to hold then. */
async function replaceable(
  { crypto, deploymentJournal }: DeployContext,
  looked: readonly LookedAt[],
): Promise<Result<readonly LookedAt[], string>> {
  const present = looked.flatMap(({ wanted: { kind }, change: { path, before, content } }) =>
    before === undefined
      ? []
      : [
          {
            path,
            kind,
            content: new TextDecoder().decode(before.content),
            digest: hex(crypto.sha256(before.content)),
            changes: !isUnchanged(before, content),
          },
        ],
  );
  for (const file of present) {
    const why = file.changes ? whyNotReplaceable(crypto, file.path, file, present) : undefined;
    if (why === undefined) continue;
    const isOurs = await deploymentJournal.wrote(file.path, file.digest);
    if (!isOurs.unwrapOr(false)) return err(why);
  }
  return ok(looked);
}
