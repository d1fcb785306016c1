import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** What was seen of the files that are or hold private keys. */
interface KeysSeen {
  /** How often all of them were gone through. */
  readonly rounds: number;
  /** How often the mode of one was looked at. */
  readonly looks: number;
  /** How often by name; temporary files under one name each. */
  readonly kinds: Readonly<Record<string, number>>;
  /** Those that others could have read, with their mode. */
  readonly wrong: readonly string[];
}

export interface KeyWatch {
  seen(): Promise<KeysSeen>;
  end(): Promise<void>;
}

/** A process that looks at the modes of all keys below a directory until it is ended. */
export function watchKeys(directory: string): KeyWatch {
  const program = fileURLToPath(new URL('key-watcher.mjs', import.meta.url));
  const child = spawn(process.execPath, [program, directory], { stdio: ['pipe', 'pipe', 'inherit'] });
  const answers = createInterface({ input: child.stdout });
  const closed = once(child, 'close');
  return {
    seen: async () => {
      const answer = once(answers, 'line');
      child.stdin.write('seen\n');
      const [line] = await Promise.race([
        answer,
        closed.then(() => Promise.reject(new Error('the watcher has ended'))),
      ]);
      return JSON.parse(String(line)) as KeysSeen;
    },
    end: async () => {
      child.stdin.end();
      await closed;
    },
  };
}
