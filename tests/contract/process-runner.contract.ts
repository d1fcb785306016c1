import { describe, expect, test } from 'vitest';
import type {
  OutputSink,
  OutputStream,
  ProcessRequest,
  ProcessRunner,
} from '../../src/ports/process-runner.js';
import { failure, value } from './result.js';

/** What a program of the suite does; the binding provides one of each; undefined: there is no such thing as it runs. */
export interface ContractPrograms {
  /** Prints its arguments as a JSON array. */
  readonly argv: string;
  /** Prints its environment as a JSON object. */
  readonly env: string | undefined;
  /** Copies standard input to standard output. */
  readonly copy: string | undefined;
  /** Exits with its first argument. */
  readonly exit: string;
  /** Prints the bytes ff fe 00 80 on standard output, `oops` on standard error. */
  readonly raw: string;
  /** Prints 00000 to 99999, each followed by a line end. */
  readonly count: string;
  /** Ends by SIGKILL. */
  readonly killed: string | undefined;
  /** Does not end by itself. */
  readonly endless: string;
  /** A path at which nothing is. */
  readonly missing: string;
}

/** What holds for every `ProcessRunner`. */
export function processRunnerContract(
  name: string,
  make: () => {
    runner: ProcessRunner;
    programs: ContractPrograms;
    /** Why `missing` is not started. */
    noSuch?: string;
  },
): void {
  describe(`process runner: ${name}`, () => {
    const { runner, programs, noSuch = 'no such file (ENOENT)' } = make();
    const run = (program: keyof ContractPrograms, changes: Partial<ProcessRequest> = {}) =>
      runner.run({
        path: programs[program] ?? '',
        args: [],
        stdin: new Uint8Array(),
        env: {},
        stdinTimeout: 10_000,
        timeout: 0,
        maxOutput: 1024 * 1024,
        ...changes,
      });
    const output = async (program: keyof ContractPrograms, changes: Partial<ProcessRequest> = {}) => {
      const outcome = value(await run(program, changes));
      return { ...outcome, text: new TextDecoder().decode(outcome.stdout.bytes) };
    };

    const vectors: Record<string, string[]> = {
      none: [],
      'empty strings': ['', '', 'a', ''],
      'spaces, tabs and line ends': ['a b', ' ', '\t', 'a\nb\r\n', '\n'],
      'quotes and backslashes': [`'`, '"', `it's "so"`, '\\', '\\n', '`'],
      'shell syntax': ['$(touch /x)', '`id`', '; rm -rf /', '&& x', '|', '>', '$HOME', '*', '~', '--', '-c'],
      unicode: ['é', 'e\u0301', '日本語', '🎉', '\u202e', '\u0001\u007f'],
      'a thousand': Array.from({ length: 1_000 }, (_, index) => `argument ${index}`),
      '100 KB in one': ['x'.repeat(100_000)],
    };
    for (const [what, args] of Object.entries(vectors))
      test(`arguments arrive as they are: ${what}`, async () => {
        expect(JSON.parse((await output('argv', { args })).text)).toEqual(args);
      });

    test('an argument with a NUL is refused, not cut', async () => {
      const error = failure(await run('argv', { args: ['fine', 'a\0b'] }));
      expect(error).toMatchObject({ code: 'spawn_failed', path: programs.argv });
      expect(error.reason).toBe('argument 2 holds a NUL');
    });

    test.skipIf(programs.env === undefined)('the environment is the given one and nothing else', async () => {
      const env = { ONE: '1', TWO: 'a b\n"' };
      expect(JSON.parse((await output('env', { env })).text)).toEqual(env);
    });

    test.skipIf(programs.copy === undefined)('standard input arrives whole, then ends', async () => {
      const stdin = Uint8Array.from({ length: 300_000 }, (_, index) => index % 251);
      expect(Buffer.compare((await output('copy', { stdin })).stdout.bytes, stdin)).toBe(0);
      expect((await output('copy')).stdout).toEqual({ bytes: new Uint8Array(), total: 0 });
    });

    for (const code of [0, 1, 2, 77, 126, 127, 128, 137, 254, 255])
      test(`exit code ${code} is reported as it is`, async () => {
        expect((await output('exit', { args: [String(code)] })).end).toEqual({ kind: 'exited', code });
      });

    test('both streams are captured, byte for byte', async () => {
      const { stdout, stderr } = await output('raw');
      expect([...stdout.bytes]).toEqual([0xff, 0xfe, 0x00, 0x80]);
      expect(stdout.total).toBe(4);
      expect(new TextDecoder().decode(stderr.bytes)).toBe('oops');
    });

    test('output beyond the limit keeps head and tail and the true total', async () => {
      const { stdout, text } = await output('count', { maxOutput: 24 });
      expect(text).toBe('00000\n00001\n99998\n99999\n');
      expect(stdout.total).toBe(600_000);
    });

    test('output of exactly the limit is whole', async () => {
      const { stdout } = await output('count', { maxOutput: 600_000 });
      expect([stdout.bytes.length, stdout.total]).toEqual([600_000, 600_000]);
    });

    test('nothing is kept, all is counted with a limit of 0', async () => {
      expect((await output('count', { maxOutput: 0 })).stdout).toEqual({
        bytes: new Uint8Array(),
        total: 600_000,
      });
    });

    test.skipIf(programs.killed === undefined)('an end by a signal names it', async () => {
      expect(await output('killed')).toMatchObject({
        end: { kind: 'signalled', signal: 'SIGKILL' },
        stopped: undefined,
      });
    });

    test('what runs beyond its time is terminated and said to have timed out', async () => {
      expect(await output('endless', { timeout: 100 })).toMatchObject({
        end: { kind: 'signalled', signal: 'SIGTERM' },
        stopped: 'timeout',
      });
    });

    test('an abort terminates it, which is no timeout', async () => {
      const controller = new AbortController();
      const running = output('endless', { signal: controller.signal, timeout: 60_000 });
      setTimeout(() => controller.abort(), 50);
      expect(await running).toMatchObject({
        end: { kind: 'signalled', signal: 'SIGTERM' },
        stopped: 'cancelled',
      });
    });

    const collected = (parts: readonly Uint8Array[]): Buffer => Buffer.concat(parts);

    test('a sink is given all of both streams, in order, what is kept stays what it is', async () => {
      const parts: Record<OutputStream, Uint8Array[]> = { stdout: [], stderr: [] };
      const onOutput: OutputSink = async (stream, chunk) => {
        parts[stream].push(chunk);
        return true;
      };
      const { stdout } = await output('count', { maxOutput: 24, onOutput });
      const all = collected(parts.stdout).toString();
      expect(all.length).toBe(600_000);
      expect(all.split('\n').slice(0, -1)).toEqual(
        Array.from({ length: 100_000 }, (_, index) => String(index).padStart(5, '0')),
      );
      expect(parts.stderr).toEqual([]);
      expect(new TextDecoder().decode(stdout.bytes)).toBe('00000\n00001\n99998\n99999\n');
      expect(stdout.total).toBe(600_000);
      expect(Math.max(...parts.stdout.map((part) => part.length))).toBeLessThanOrEqual(65_536);
      await output('raw', { onOutput });
      expect(collected(parts.stderr).toString()).toBe('oops');
    });

    test('a sink is called again only when it has answered, and what it does to a chunk changes nothing', async () => {
      let open = 0;
      let most = 0;
      let chunks = 0;
      const { stdout, text } = await output('count', {
        onOutput: async (_stream, chunk) => {
          open += 1;
          chunks += 1;
          most = Math.max(most, open);
          await new Promise((resolve) => setImmediate(resolve));
          chunk.fill(0);
          open -= 1;
          return true;
        },
      });
      expect([most, stdout.total, text.slice(0, 12)]).toEqual([1, 600_000, '00000\n00001\n']);
      expect(chunks).toBeGreaterThan(1);
    });

    for (const [what, answer] of [
      ['says that nobody reads any more', async () => false],
      ['fails', () => Promise.reject(new Error('gone'))],
      [
        'throws',
        () => {
          throw new Error('gone');
        },
      ],
    ] as const)
      test(`a sink that ${what} is not called again and changes nothing`, async () => {
        let calls = 0;
        const { end, stdout, stopped } = await output('count', {
          onOutput: () => {
            calls += 1;
            return answer();
          },
        });
        expect([calls, end, stdout.total, stopped]).toEqual([
          1,
          { kind: 'exited', code: 0 },
          600_000,
          undefined,
        ]);
      });

    test('what was cancelled before is not started', async () => {
      const error = failure(await run('argv', { signal: AbortSignal.abort() }));
      expect(error).toMatchObject({ code: 'spawn_failed', reason: 'cancelled before it was started' });
    });

    test('a program that does not exist is spawn_failed with path and reason', async () => {
      const error = failure(await run('missing'));
      expect(error).toMatchObject({
        code: 'spawn_failed',
        path: programs.missing,
        reason: noSuch,
      });
      expect(error.message).toBe(`${programs.missing} could not be executed: ${noSuch}`);
    });
  });
}
