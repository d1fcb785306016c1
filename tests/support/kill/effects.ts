import { existsSync, type FSWatcher, watch, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';

/** Notices the first change of files in some directories: when a command begins with its work. */
export interface Effects {
  /** `performance.now()` of the first change; undefined: none so far. */
  first(): number | undefined;
  /** Resolves at the first change. */
  readonly began: Promise<void>;
  /** Waits until everything that has happened by now was noticed, then ends; whether there was a change. */
  end(): Promise<boolean>;
}

const sentinel = 'noticed-everything';

/** `mark`: only changes of names like this count. Default: all. */
export function watchEffects(directories: readonly string[], mark = /./): Effects {
  let first: number | undefined;
  let begin: () => void = () => undefined;
  const began = new Promise<void>((resolve) => {
    begin = resolve;
  });
  const caughtUp: Promise<void>[] = [];
  const watchers: FSWatcher[] = [];
  for (const directory of directories.filter((each) => existsSync(each))) {
    caughtUp.push(
      new Promise((resolve) => {
        const watcher = watch(directory, (_event, name) => {
          if (name === sentinel) return resolve();
          if (first !== undefined || name === null || !mark.test(name)) return;
          first = performance.now();
          begin();
        });
        watchers.push(watcher);
      }),
    );
  }
  return {
    first: () => first,
    began,
    async end() {
      for (const directory of directories.filter((each) => existsSync(each)))
        writeFileSync(join(directory, sentinel), '');
      await Promise.all(caughtUp);
      for (const watcher of watchers) watcher.close();
      for (const directory of directories) await rm(join(directory, sentinel), { force: true });
      return first !== undefined;
    },
  };
}
