import { err, ok, ResultAsync } from 'neverthrow';
import { withLock } from './lock.js';
import type { FileFailure } from './system-failure.js';

/** Lets go; does nothing the second time. */
export type Release = () => Promise<void>;

/** Takes the lock at `path` (see lock.ts) and keeps it until it is let go or the process ends. */
export function holdLock(path: string, patienceMilliseconds?: number): ResultAsync<Release, FileFailure> {
  return new ResultAsync(
    new Promise((resolve) => {
      const holding: ResultAsync<void, FileFailure> = withLock(
        path,
        () =>
          new ResultAsync<void, never>(
            new Promise((finish) => {
              const release = async () => {
                finish(ok(undefined));
                await holding;
              };
              resolve(ok(release));
            }),
          ),
        patienceMilliseconds,
      ).orTee((error) => resolve(err(error)));
    }),
  );
}
