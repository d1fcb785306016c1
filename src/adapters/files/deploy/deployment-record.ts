import { join } from 'node:path';
import { ok, ResultAsync } from 'neverthrow';
import {
  decodeObject,
  integer,
  list,
  matching,
  optional,
  shaped,
  text,
  yes,
} from '../../../domain/core/decode.js';
import { parseJsonObject } from '../../../domain/core/json.js';
import { aclForm } from '../../../domain/deploy/acl.js';
import type { FileState } from '../../../domain/deploy/plan.js';
import type { DeploymentRecord, RecordedFile } from '../../../ports/deployment-journal.js';
import { readRegular } from '../regular-file.js';
import { attempt, type FileFailure, systemFailure } from '../system-failure.js';

const format = 1;
const largestContent = 1024 * 1024;

/** The record without the contents, which are in files beside it, by their index. */
export const recordText = ({ targetType, reload, files }: DeploymentRecord): string =>
  `${JSON.stringify({
    format,
    targetType,
    ...(reload === undefined ? {} : { reload: [reload.program, ...reload.args] }),
    files: files.map(({ path, before, after, inPlace }) => ({
      path,
      after,
      ...(inPlace === undefined ? {} : { inPlace }),
      ...(before === undefined
        ? {}
        : { before: { mode: before.mode, uid: before.uid, gid: before.gid, acl: before.acl } }),
    })),
  })}\n`;

const absolute = matching(/^\/[^\0]*$/, 'an absolute path');
const state = shaped('mode, uid and gid', {
  mode: integer(0, 0o777),
  uid: integer(0, 2 ** 32 - 1),
  gid: integer(0, 2 ** 32 - 1),
  acl: optional(matching(aclForm, 'an access control list')),
});
const recorded = shaped('a file', {
  path: absolute,
  after: matching(/^[0-9a-f]{64}$/, 'SHA-256 in hex'),
  before: optional(state),
  inPlace: optional(yes),
});
const shape = {
  format: integer(format, format),
  targetType: text(100),
  reload: optional(list(text(4096), 1, 2048)),
  files: list(recorded, 1, 16),
};

type Recorded = Omit<RecordedFile, 'before'> & {
  readonly before?: Omit<FileState, 'content'>;
};

const decodeRecord = (json: string) => parseJsonObject(json).andThen((value) => decodeObject(value, shape));

/** What a record says that files were replaced with; nothing, if it is damaged. */
export const recordedFiles = (json: string): readonly Pick<RecordedFile, 'path' | 'after'>[] =>
  decodeRecord(json)
    .map(({ files }) => files)
    .unwrapOr([]);

/** Reads a record and the contents beside it. It was written in one piece: what cannot be understood was damaged. */
export function readRecord(
  json: string,
  directory: string,
  name: string,
): ResultAsync<DeploymentRecord, FileFailure> {
  const decoded = decodeRecord(json).mapErr((why) => damaged(join(directory, name), why));
  return new ResultAsync(Promise.resolve(decoded)).andThen(({ targetType, reload: words, files }) =>
    ResultAsync.combine(files.map((file, index) => withContent(file, join(directory, String(index))))).map(
      (complete) => {
        const [program, ...args] = words ?? [];
        return { targetType, reload: program === undefined ? undefined : { program, args }, files: complete };
      },
    ),
  );
}

function withContent(file: Recorded, path: string): ResultAsync<RecordedFile, FileFailure> {
  const { before } = file;
  if (before === undefined) return new ResultAsync(Promise.resolve(ok({ ...file, before })));
  return attempt(path, 'read', () => readRegular(path, largestContent)).map((content) => ({
    ...file,
    before: { ...before, content },
  }));
}

const damaged = (path: string, why: string): FileFailure =>
  systemFailure(
    path,
    'read',
    'EBADMSG',
    `the record of an interrupted deployment is damaged (${why}): see to the files of the service, then remove it`,
  );
