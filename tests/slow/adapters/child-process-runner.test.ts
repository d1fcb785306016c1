import {
  closeSync,
  copyFileSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  symlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { childProcessRunner } from '../../../src/adapters/child-process/runner.js';
import type { ProcessRequest } from '../../../src/ports/process-runner.js';
import { failure, value } from '../../contract/result.js';
import {
  eventually,
  isAlive,
  processRequest,
  scriptDirectory,
  text,
} from '../../unit/adapters/child-process/scripts.js';

const { directory, file, shell, node } = scriptDirectory();
const sockets = { input: () => undefined, outputs: { take: async () => undefined } };
const runner = childProcessRunner();
const run = async (path: string, changes: Partial<ProcessRequest> = {}) =>
  value(await runner.run(processRequest(path, changes)));
const refused = async (path: string, changes: Partial<ProcessRequest> = {}) =>
  failure(await runner.run(processRequest(path, changes))).reason;

/** The pid that a script wrote to a file once it was there to be judged. */
const pidIn = async (path: string): Promise<number> => {
  const read = (): string => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return '';
    }
  };
  await eventually(() => /^\d+\n$/.test(read()));
  return Number(read());
};

/** What this process has started to read the pipes of what was left behind. */
/** Has a process that was left behind ended with the test, however that ends. */
const ending = (pid: number) =>
  onTestFinished(() => {
    if (isAlive(pid)) process.kill(pid, 'SIGKILL');
  });

/** Bytes that a process has written. */
const written = (pid: number): number =>
  Number(/^wchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1]);

const drains = () =>
  readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8')
    .split(' ')
    .filter((pid) => pid.trim() !== '' && readFileSync(`/proc/${pid}/comm`, 'utf8') === 'cat\n');

describe('what a script finds', () => {
  test('every exit code from 0 to 255 is passed through', async () => {
    const script = shell('exit "$1"');
    for (let code = 0; code <= 255; code += 1)
      expect((await run(script, { args: [String(code)] })).end).toEqual({ kind: 'exited', code });
  });

  test('it leads its own session and group, at /', async () => {
    const { stdout } = await run(shell('cat /proc/$$/stat; pwd'));
    const [stat = '', cwd] = text(stdout.bytes).split('\n');
    const [pid] = stat.split(' ');
    const [, , group, session] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    expect([group, session, cwd]).toEqual([pid, pid, '/']);
  });

  test('no signal is blocked or ignored', async () => {
    const { stdout } = await run('/bin/grep', { args: ['-E', '^Sig(Blk|Ign)', '/proc/self/status'] });
    expect(text(stdout.bytes)).toBe('SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n');
  });

  test('no descriptor leads to a file of this process', async () => {
    const { stdout } = await run(shell('for fd in /proc/self/fd/*; do readlink "$fd"; done'));
    const targets = text(stdout.bytes).trim().split('\n');
    expect(
      targets.filter(
        (target) => !/^(\/dev\/null$|\/dev\/shm\/ctrl-exec-.*deleted|\/proc\/|.*script-\d+$)/.test(target),
      ),
    ).toEqual([]);
  });

  test('its standard streams are blocking pipes that can be opened by name', async () => {
    const script = shell(
      'cat /dev/stdin; echo o >/dev/stdout; echo e | tee /dev/stderr; cat /proc/self/fdinfo/1',
    );
    const { end, stdout, stderr } = await run(script, { stdin: Buffer.from('in ') });
    expect(end).toEqual({ kind: 'exited', code: 0 });
    expect(text(stdout.bytes)).toMatch(/^in o\ne\n/);
    expect(text(stderr.bytes)).toBe('e\n');
    const flags = Number.parseInt(/flags:\s*(\d+)/.exec(text(stdout.bytes))?.[1] ?? '', 8);
    expect(flags & 0o4000).toBe(0);
  });

  test('no variable of this process reaches it, also not those that Node hands on', async () => {
    const before = process.env['NODE_V8_COVERAGE'];
    process.env['NODE_V8_COVERAGE'] = directory;
    try {
      expect(text((await run('/usr/bin/env', { env: { TZ: 'UTC' } })).stdout.bytes)).toBe('TZ=UTC\n');
    } finally {
      if (before === undefined) delete process.env['NODE_V8_COVERAGE'];
      else process.env['NODE_V8_COVERAGE'] = before;
    }
  });

  test('the umask is that of this process', async () => {
    const before = process.umask(0o027);
    try {
      expect(text((await run(shell('umask'))).stdout.bytes)).toBe('0027\n');
    } finally {
      process.umask(before);
    }
  });
});

describe('what cannot be started', () => {
  const long = 'x'.repeat(100_000);
  const script = shell('exit 0');
  test.each<[string, string, Partial<ProcessRequest>, string]>([
    [
      'one argument beyond 128 KiB',
      script,
      { args: ['x'.repeat(140_000)] },
      "arguments exceed the system's limit (E2BIG)",
    ],
    [
      'arguments beyond the limit together',
      script,
      { args: Array<string>(40).fill(long) },
      "arguments exceed the system's limit (E2BIG)",
    ],
    [
      'a variable beyond 128 KiB',
      script,
      { env: { A: 'x'.repeat(140_000) } },
      "arguments exceed the system's limit (E2BIG)",
    ],
    ['not executable', file('#!/bin/sh\n', 0o644), {}, 'not executable, or not a file (EACCES)'],
    ['a directory', directory, {}, 'not executable, or not a file (EACCES)'],
    ['below a file', join(script, 'x'), {}, 'a part of the path is not a directory (ENOTDIR)'],
    [
      'without its interpreter',
      file('#!/no/such/interpreter\n'),
      {},
      'its interpreter does not exist (ENOENT)',
    ],
    [
      'text without an interpreter line',
      file('echo hi\n'),
      {},
      'neither a binary nor a script that begins with #! (ENOEXEC)',
    ],
    ['an empty file', file(''), {}, 'neither a binary nor a script that begins with #! (ENOEXEC)'],
    ['a relative path', 'bin/true', {}, 'the path is not absolute'],
    ['an empty path', '', {}, 'the path is not absolute'],
    ['a path with a NUL', '/bin/true\0', {}, 'the path holds a NUL'],
    [
      'half a surrogate pair',
      script,
      { args: ['a\ud800'] },
      'argument 1 holds half a surrogate pair, which has no bytes',
    ],
  ])('%s: said so, never thrown', async (_what, path, changes, reason) => {
    expect(await refused(path, changes)).toBe(reason);
  });

  test('a NUL in the environment is an error and names the variable', async () => {
    expect(await refused(script, { env: { NAME: 'secret\0' } })).toBe('variable "NAME" holds a NUL');
  });

  test.each([
    ['a binary', '/bin/true'],
    ['a script', undefined],
  ])('%s that somebody has open for writing', async (_what, original) => {
    const busy = original === undefined ? shell('exit 0') : file('', 0o755);
    if (original !== undefined) copyFileSync(original, busy);
    const writer = openSync(busy, 'r+');
    try {
      expect(await refused(busy)).toBe('the file is open for writing (ETXTBSY)');
    } finally {
      closeSync(writer);
    }
    expect((await run(busy)).end).toEqual({ kind: 'exited', code: 0 });
  });

  test.each([
    ['bytes that the kernel does not know', '\0\necho ran\n'],
    ['an interpreter that is too long for the kernel', `#!/${'x'.repeat(300)}\necho ran\n`],
    ['an interpreter behind a NUL', '#!\0/bin/sh\necho ran\n'],
  ])('%s: no shell tries it', async (_what, content) => {
    expect(await refused(file(content))).toBe('neither a binary nor a script that begins with #! (ENOEXEC)');
  });

  test('a link in a circle', async () => {
    symlinkSync(join(directory, 'circle'), join(directory, 'circle'));
    expect(await refused(join(directory, 'circle'))).toBe('too many symbolic links in the path (ELOOP)');
  });

  test('an argument of exactly 128 KiB with its end still passes', async () => {
    expect((await run(script, { args: ['x'.repeat(131_071)] })).end).toEqual({ kind: 'exited', code: 0 });
  });
});

describe.each([
  ['pipes', childProcessRunner()],
  ['sockets', childProcessRunner({ streams: sockets })],
])('streams over %s', (kind, streaming) => {
  const run = async (path: string, changes: Partial<ProcessRequest> = {}) =>
    value(await streaming.run(processRequest(path, changes)));
  const large = new Uint8Array(1024 * 1024).fill(120);

  test('a script that floods standard error first is complete on both', async () => {
    const script = node("process.stderr.write('e'.repeat(3e6), () => process.stdout.write('o'.repeat(2e6)))");
    const { stdout, stderr } = await run(script);
    expect([stdout.total, stderr.total]).toEqual([2_000_000, 3_000_000]);
  });

  test('10 MB on standard output are all there, in order', async () => {
    const { stdout } = await run(shell('yes 123456789 | head -n 1000000'));
    expect(Buffer.compare(stdout.bytes, Buffer.from('123456789\n'.repeat(1_000_000)))).toBe(0);
  });

  test('output written just before the exit is complete while this process is busy', async () => {
    const script = shell('head -c 60000 /dev/zero');
    const running = run(script);
    const busy = setInterval(() => {
      const until = performance.now() + 700;
      while (performance.now() < until);
    }, 1);
    const { stdout } = await running.finally(() => clearInterval(busy));
    expect(stdout.total).toBe(60_000);
  });

  test('a script that never reads a large standard input is not harmed', async () => {
    const { end, stdout } = await run(shell('echo done'), { stdin: large });
    expect(end).toEqual({ kind: 'exited', code: 0 });
    expect(text(stdout.bytes)).toBe('done\n');
  });

  test('a script that closes its standard input at once is not harmed', async () => {
    const { end } = await run(shell('exec <&-; exec /bin/sleep 0.2'), { stdin: large });
    expect(end).toEqual({ kind: 'exited', code: 0 });
  });

  test('a standard input that nobody reads in time is closed, where it has to be written', async () => {
    const script = node(
      "const fs = require('fs'); fs.writeSync(1, 'up\\n');" +
        'setTimeout(() => process.stdout.write(String(fs.readFileSync(0).length)), 400)',
    );
    const { end, stdout } = await run(script, { stdin: large, stdinTimeout: 100 });
    expect(end).toEqual({ kind: 'exited', code: 0 });
    const read = Number(text(stdout.bytes).split('\n')[1]);
    expect(read).toBeGreaterThan(0);
    if (kind === 'pipes') expect(read).toBe(large.length);
    else expect(read).toBeLessThan(large.length);
  });

  test('a daemonised grandchild that holds the pipes delays the answer by the grace at most', async () => {
    const pidFile = join(directory, `daemon-${kind}`);
    const script = shell(`echo before; setsid sh -c 'echo $$ > "$0"; exec sleep 1000' "$1" & exit 3`);
    const began = performance.now();
    const { end, stdout, pipesHeldBy } = await run(script, { args: [pidFile] });
    expect(performance.now() - began).toBeLessThan(20_000);
    expect(end).toEqual({ kind: 'exited', code: 3 });
    expect(text(stdout.bytes)).toBe('before\n');
    const daemon = await pidIn(pidFile);
    expect(isAlive(daemon)).toBe(true);
    expect(pipesHeldBy).toEqual(kind === 'pipes' ? [daemon] : []);
    process.kill(daemon, 'SIGKILL');
  });

  test('a grandchild that reads its own output as well is told of all the same', async () => {
    const pidFile = join(directory, `reader-${kind}`);
    const opens = kind === 'pipes' ? 'exec 3</proc/self/fd/1; ' : '';
    const script = shell(`setsid sh -c '${opens}echo $$ > "$0"; exec sleep 1000' "$1" &`);
    const { pipesHeldBy } = await run(script, { args: [pidFile] });
    const daemon = await pidIn(pidFile);
    expect(pipesHeldBy).toEqual(kind === 'pipes' ? [daemon] : []);
    process.kill(daemon, 'SIGKILL');
  });

  test.skipIf(process.geteuid?.() !== 0)(
    'a child of another account gets none of the output that others write (needs root)',
    async () => {
      const script = shell(
        `setpriv --reuid 65534 --clear-groups sh -c 'cat /proc/self/fd/1' 2>/dev/null & thief=$!; seq 40; wait $thief; echo "thief: $?"`,
      );
      const { stdout } = await run(script);
      expect(text(stdout.bytes).split('\n').slice(0, 40)).toEqual(
        Array.from({ length: 40 }, (_, index) => String(index + 1)),
      );
      expect(text(stdout.bytes)).toMatch(/thief: [1-9]/);
    },
  );

  test('what a script writes for a reader that takes its time waits in the script', async () => {
    const progress = join(directory, `progress-${kind}`);
    const script = node(
      `const fs = require('fs'); let written = 0; const chunk = Buffer.alloc(65536, 'x');
       const more = () => { if (written === 8388608) return;
         process.stdout.write(chunk, () => { written += 65536; fs.writeFileSync('${progress}', String(written)); more(); }); };
       more();`,
    );
    let release: () => void = () => undefined;
    const held = new Promise<boolean>((resolve) => {
      release = () => resolve(true);
    });
    let given = 0;
    const running = run(script, {
      maxOutput: 1000,
      onOutput: (_stream, chunk) => {
        given += chunk.length;
        return held;
      },
    });
    const told = () => Number(existsSync(progress) ? readFileSync(progress, 'utf8') : 0);
    let before = -1;
    // Until it gets no further in a tenth of a second: a pipe and a buffer or two are full.
    while (before !== told() || given === 0) {
      before = told();
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    expect(told()).toBeLessThan(1_000_000);
    expect(given).toBeLessThanOrEqual(65_536);
    release();
    const { stdout, pipesHeldBy } = await running;
    expect([stdout.total, given, pipesHeldBy]).toEqual([8_388_608, 8_388_608, undefined]);
  });

  test('a reader that is slower than the script gets all of it, after its end, too', async () => {
    let given = 0;
    const { stdout } = await run(shell('head -c 60000 /dev/zero'), {
      onOutput: async (_stream, chunk) => {
        await new Promise((resolve) => setTimeout(resolve, 800));
        given += chunk.length;
        return true;
      },
    });
    expect([stdout.total, given]).toEqual([60_000, 60_000]);
  });

  test('a reader that never answers is given up, and the run is as if there were none', async () => {
    const impatient = childProcessRunner({
      sinkPatience: 100,
      ...(kind === 'sockets' && { streams: sockets }),
    });
    let calls = 0;
    const outcome = await impatient.run(
      processRequest(shell('head -c 3000000 /dev/zero; echo end >&2'), {
        onOutput: () => {
          calls += 1;
          return new Promise(() => undefined);
        },
      }),
    );
    const { stdout, stderr, end } = value(outcome);
    expect([stdout.total, text(stderr.bytes), end]).toEqual([
      3_000_000,
      'end\n',
      { kind: 'exited', code: 0 },
    ]);
    expect(calls).toBeLessThanOrEqual(2);
  });

  test('a daemon that goes on printing to a slow reader does not keep the answer', async () => {
    const pidFile = join(directory, `flood-${kind}`);
    const script = shell(`setsid sh -c 'echo $$ > "$0"; exec yes' "$1" & while [ ! -s "$1" ]; do :; done`);
    const impatient = childProcessRunner({
      sinkPatience: 300,
      ...(kind === 'sockets' && { streams: sockets }),
    });
    const outcome = await impatient.run(
      processRequest(script, {
        args: [pidFile],
        onOutput: () => new Promise((resolve) => setTimeout(resolve, 20, true)),
      }),
    );
    const daemon = await pidIn(pidFile);
    ending(daemon);
    // On a busy machine who holds a pipe may not be found in time.
    expect([[], [daemon]]).toContainEqual(value(outcome).pipesHeldBy);
    // What it goes on printing is read, to nowhere.
    const before = written(daemon);
    await eventually(() => written(daemon) > before + 1_000_000);
  });

  test('a daemon that prints faster than its reader takes it is no part of the answer', async () => {
    const pidFile = join(directory, `fast-${kind}`);
    const script = shell(`setsid sh -c 'echo $$ > "$0"; exec yes' "$1" & while [ ! -s "$1" ]; do :; done`);
    let given = 0;
    const began = performance.now();
    const { stdout, end } = await run(script, {
      args: [pidFile],
      maxOutput: 1000,
      onOutput: async (_stream, chunk) => {
        given += chunk.length;
        await new Promise((resolve) => setTimeout(resolve, 10));
        return true;
      },
    });
    process.kill(await pidIn(pidFile), 'SIGKILL');
    expect(end).toEqual({ kind: 'exited', code: 0 });
    expect(stdout.total).toBe(given);
    expect(performance.now() - began).toBeLessThan(20_000);
  });

  test('what is kept of a script whose child goes on writing is what its reader was given', async () => {
    const script = shell(
      '(i=0; while [ $i -lt 40 ]; do echo x; sleep 0.05; i=$((i+1)); done) & echo started',
    );
    const once = async () => {
      const given: string[] = [];
      const { end, stdout, pipesHeldBy } = await run(script, {
        onOutput: async (_stream, chunk) => given.push(text(chunk)) > 0,
      });
      expect(end).toEqual({ kind: 'exited', code: 0 });
      expect(text(stdout.bytes)).toBe(given.join(''));
      expect(stdout.total).toBe(stdout.bytes.length);
      expect(pipesHeldBy).toBeDefined();
    };
    await Promise.all(Array.from({ length: 12 }, once));
  });

  test('what a script leaves behind can go on writing, and nothing stays open when it ends', async () => {
    const [pidFile, trace] = [join(directory, `left-${kind}`), join(directory, `trace-${kind}`)];
    const script = shell(
      `setsid sh -c 'echo $$ >"$0"; while :; do echo tick; echo tock >&2; echo alive >>"$1"; sleep 0.02; done' "$1" "$2" & echo started`,
    );
    const open = () => readdirSync('/proc/self/fd').length;
    const before = open();
    expect(text((await run(script, { args: [pidFile, trace] })).stdout.bytes)).toMatch(/^started\n/);
    const daemon = await pidIn(pidFile);
    ending(daemon);
    const size = () => readFileSync(trace).length;
    for (const _ of [1, 2, 3]) {
      const soFar = size();
      await eventually(() => size() > soFar + 60);
    }
    process.kill(daemon, 'SIGKILL');
    await eventually(() => open() <= before && drains().length === 0);
  });

  test('the answer does not wait for the grace when the output has ended', async () => {
    const patient = childProcessRunner({ grace: 600_000, ...(kind === 'sockets' && { streams: sockets }) });
    const outcome = await patient.run(processRequest(shell('echo x')));
    expect(text(value(outcome).stdout.bytes)).toBe('x\n');
  });
});

describe('termination', () => {
  const impatient = childProcessRunner({ killAfter: 100 });

  test('a script that ignores SIGTERM is killed', async () => {
    const outcome = await impatient.run(
      processRequest(shell("trap '' TERM; while :; do sleep 1000; done"), { timeout: 200 }),
    );
    expect(value(outcome)).toMatchObject({
      end: { kind: 'signalled', signal: 'SIGKILL' },
      stopped: 'timeout',
    });
  });

  test('grandchildren that ignore SIGTERM are killed, also when the script itself obeyed', async () => {
    const pidFile = join(directory, 'stubborn');
    const script = shell(`(trap '' TERM; sh -c 'echo $$ > "$0"; while :; do sleep 1000; done' "$1") & wait`);
    const controller = new AbortController();
    const running = impatient.run(processRequest(script, { args: [pidFile], signal: controller.signal }));
    const grandchild = await pidIn(pidFile);
    controller.abort();
    expect(value(await running)).toMatchObject({
      end: { signal: 'SIGTERM' },
      stopped: 'cancelled',
    });
    await eventually(() => !isAlive(grandchild));
  });

  test('a script that cleans up on SIGTERM gives its own exit code', async () => {
    const script = shell("trap 'echo cleaned; exit 9' TERM; echo up; sleep 1000 & wait");
    const { end, stdout } = await run(script, { timeout: 300 });
    expect(end).toEqual({ kind: 'exited', code: 9 });
    expect(text(stdout.bytes)).toBe('up\ncleaned\n');
  });

  test('a timeout of more than 24.8 days does not come at once', async () => {
    const { end } = await run(shell('sleep 0.1'), { timeout: 2 ** 40, stdinTimeout: 2 ** 40 });
    expect(end).toEqual({ kind: 'exited', code: 0 });
  });

  test('the exit code of a command that was over before its time stays what it is', async () => {
    expect((await run(shell('exit 4'), { timeout: 60_000 })).end).toEqual({ kind: 'exited', code: 4 });
  });
});

describe('what is left behind', () => {
  const descriptors = (): number => readdirSync('/proc/self/fd').length;
  const children = (): string => readFileSync('/proc/thread-self/children', 'utf8').trim();
  let script = '';
  beforeAll(() => {
    script = shell('cat >/dev/null; echo out; echo err >&2');
  });
  afterAll(() => expect(children()).toBe(''));

  test('200 runs, many at a time, leave no descriptor and no zombie', async () => {
    await run(script);
    const before = descriptors();
    for (let round = 0; round < 10; round += 1) {
      const outcomes = await Promise.all(
        Array.from({ length: 20 }, () => run(script, { stdin: Buffer.from('{}') })),
      );
      for (const { stdout, stderr } of outcomes)
        expect([text(stdout.bytes), text(stderr.bytes)]).toEqual(['out\n', 'err\n']);
    }
    await eventually(() => descriptors() <= before);
    await eventually(() => children() === '');
  });

  test('50 failures to start leave no descriptor', async () => {
    const missing = join(directory, 'missing');
    await refused(missing);
    const before = descriptors();
    for (let index = 0; index < 50; index += 1) {
      await refused(missing);
      await refused(script, { args: ['x'.repeat(140_000)] });
    }
    await eventually(() => descriptors() <= before);
  });

  test('an abort signal that outlives its runs has no listener left', async () => {
    const controller = new AbortController();
    let listeners = 0;
    const { signal } = controller;
    const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)];
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners += 1;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners -= 1;
      remove(...args);
    };
    await run(script, { signal });
    expect(listeners).toBe(0);
  });
});
