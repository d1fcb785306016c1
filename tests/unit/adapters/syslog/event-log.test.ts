import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type SyslogOptions, syslogEventLog } from '../../../../src/adapters/syslog/event-log.js';
import { missingForSyslog, syslogSocket } from '../../../support/network/syslog-socket.js';
import { parseLogLine } from '../../domain/core/parse-log-line.js';

const skipped = missingForSyslog === undefined ? '' : ` (skipped: ${missingForSyslog})`;

function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'ctrl-exec-test-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** An event log whose fallback keeps what it gets. */
function logTo(options: Partial<SyslogOptions>) {
  const instead: string[] = [];
  const fallback = (line: string) => {
    instead.push(line);
  };
  return { log: syslogEventLog({ tag: 'test', fallback, ...options }), instead };
}

/** A program in place of `logger`; `pids` are those of its processes, which are ended with the test. */
function program(body: string) {
  const directory = temporaryDirectory();
  const path = join(directory, 'logger');
  const list = join(directory, 'pids');
  writeFileSync(path, `#!/bin/sh\necho $$ >> ${list}\n${body}\n`);
  chmodSync(path, 0o755);
  const pids = () =>
    existsSync(list)
      ? readFileSync(list, 'utf8')
          .split('\n')
          .filter((line) => line !== '')
          .map(Number)
      : [];
  onTestFinished(() => {
    for (const pid of pids()) stop(pid);
  });
  return { path, pids, directory };
}

function stop(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL');
  } catch {
    return false;
  }
}

const last = ({ text }: { text: string }) => text.includes('ACTION=last');
const anyEvent = (log: ReturnType<typeof syslogEventLog>, action: string) => log.emit({ action });

describe('syslog', () => {
  it.skipIf(skipped)(`gets each line with its priority, the tag and this process${skipped}`, async () => {
    const { path, until } = await syslogSocket();
    const { log, instead } = logTo({ tag: 'ctrl-exec-agent', socket: path });
    log.emit({ action: 'run-start', fields: { reqid: 'a1', script: 'back up' } });
    log.emit({ action: 'denied', level: 'warning' });
    log.emit({ action: 'internal-error', level: 'error' });
    anyEvent(log, 'last');
    const about = { tag: 'ctrl-exec-agent', pid: process.pid };
    expect(await until(last)).toEqual([
      { ...about, priority: 30, text: 'ACTION=run-start REQID=a1 SCRIPT="back up"' },
      { ...about, priority: 28, text: 'ACTION=denied' },
      { ...about, priority: 27, text: 'ACTION=internal-error' },
      { ...about, priority: 30, text: 'ACTION=last' },
    ]);
    await log.close();
    expect(instead).toEqual([]);
  });

  it.skipIf(skipped)(`whatever a peer sends is one message of one priority${skipped}`, async () => {
    const { path, until } = await syslogSocket();
    const value = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 200 }),
      fc
        .constantFrom('\n', '<27>x', '\0', '"')
        .chain((part) =>
          fc
            .array(fc.constantFrom(part, 'ACTION=forged', ' <27>ACTION=forged\n'), { maxLength: 400 })
            .map((parts) => parts.join('')),
        ),
      fc.constantFrom('\u{10ffff}', '日', '<27>').map((unit) => unit.repeat(1_000)),
    );
    const fields = fc.dictionary(
      fc.stringMatching(/^[a-z]{1,6}$/).filter((key) => key !== 'action'),
      value,
      {
        maxKeys: 12,
      },
    );
    let round = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(fields, { minLength: 1, maxLength: 20 }), async (all) => {
        const { log } = logTo({ socket: path });
        round += 1;
        const mine = `round-${round}`;
        for (const each of all) log.emit({ action: mine, fields: each });
        log.emit({ action: `end-of-${mine}` });
        await log.close();
        const messages = await until(({ text }) => text === `ACTION=end-of-${mine}`);
        const before = messages.findIndex(({ text }) => text === `ACTION=end-of-round-${round - 1}`);
        const got = messages.slice(before + 1, -1);
        expect(got.length).toBe(all.length);
        for (const { priority, text } of got) {
          expect(priority).toBe(30);
          expect(text.startsWith(`ACTION=${mine}`)).toBe(true);
          // A cut value has a mark that nothing else has.
          if (!text.includes('\\+')) expect(parseLogLine(text).action).toBe(mine);
        }
      }),
      { numRuns: 25 },
    );
  });

  it.skipIf(skipped)(`the longest line of all is one message${skipped}`, async () => {
    const { path, until } = await syslogSocket();
    const { log } = logTo({ socket: path });
    const long = Object.fromEntries(
      Array.from({ length: 10 }, (_, index) => [`k${index}`, '\u{5d000}日'.repeat(3_000)]),
    );
    log.emit({ action: 'long', fields: long });
    anyEvent(log, 'last');
    const messages = await until(last);
    expect(messages.length).toBe(2);
    expect(Buffer.byteLength(messages[0]?.text ?? '')).toBeGreaterThan(15_000);
    await log.close();
  });

  it.skipIf(skipped)(`one logger serves the whole process, in a session of its own${skipped}`, async () => {
    const { path, until } = await syslogSocket();
    const logger = program('exec logger "$@"');
    const { log } = logTo({ socket: path, program: logger.path });
    expect(logger.pids()).toEqual([]);
    for (let index = 0; index < 500; index += 1) anyEvent(log, `a${index}`);
    anyEvent(log, 'last');
    const messages = await until(last);
    expect(messages.map(({ text }) => text).slice(0, -1)).toEqual(
      Array.from({ length: 500 }, (_, index) => `ACTION=a${index}`),
    );
    const [pid = 0, ...others] = logger.pids();
    expect(others).toEqual([]);
    const [, , session] = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /, '')
      .split(' ')
      .slice(1);
    expect(Number(session)).toBe(pid);
    await log.close();
    expect(stop(pid)).toBe(false);
  });

  it.skipIf(skipped)(`a logger that dies is replaced and no line is lost${skipped}`, async () => {
    const { path, until } = await syslogSocket();
    const logger = program('exec logger "$@"');
    const { log, instead } = logTo({ socket: path, program: logger.path });
    anyEvent(log, 'before');
    await until(({ text }) => text === 'ACTION=before');
    const [first = 0] = logger.pids();
    process.kill(first, 'SIGSTOP');
    for (let index = 0; index < 200; index += 1) anyEvent(log, `a${index}`);
    stop(first);
    await log.close();
    anyEvent(log, 'last');
    const messages = await until(last);
    await log.close();
    const texts = messages.map(({ text }) => text);
    expect(texts.slice(-201, -1)).toEqual(Array.from({ length: 200 }, (_, index) => `ACTION=a${index}`));
    expect(instead).toEqual([]);
    expect(logger.pids().length).toBe(3);
  });

  it.skipIf(skipped)(
    `what finds the buffer full is dropped, and a later line says how many${skipped}`,
    async () => {
      const { path, until } = await syslogSocket();
      const directory = temporaryDirectory();
      const go = join(directory, 'go');
      const logger = program(`until [ -e ${go} ]; do sleep 0.02; done\nexec logger "$@"`);
      const { log, instead } = logTo({ socket: path, program: logger.path, maxWaiting: 50_000 });
      const fields = { x: 'x'.repeat(500) };
      for (let index = 0; index < 2_000; index += 1) {
        log.emit({ action: 'many', fields });
        // So that the pipe is filled, too.
        if (index % 32 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      writeFileSync(go, '');
      const messages = await until(({ text }) => text.startsWith('ACTION=events-dropped'));
      const dropped = Number(parseLogLine(messages.at(-1)?.text ?? '').fields['COUNT']);
      expect(dropped).toBeGreaterThan(0);
      expect(messages.at(-1)?.priority).toBe(28);
      expect(messages.length - 1 + dropped).toBe(2_000);
      anyEvent(log, 'last');
      await log.close();
      expect((await until(last)).length).toBe(messages.length + 1);
      expect(instead).toEqual([]);
    },
  );
});

describe('without syslog', () => {
  it('lines go elsewhere, in order, after one that says why', async () => {
    const { log, instead } = logTo({ program: '/nonexistent/logger', socket: '/dev/null' });
    anyEvent(log, 'one');
    anyEvent(log, 'two');
    await log.close();
    anyEvent(log, 'three');
    expect(instead).toEqual([
      'ACTION=event-log-failed REASON="/nonexistent/logger: ENOENT"',
      'ACTION=one',
      'ACTION=two',
      'ACTION=three',
    ]);
  });

  it('a logger that ends at once is tried twice, then no more', async () => {
    const logger = program('cat >/dev/null & exit 3');
    const { log, instead } = logTo({ program: logger.path, socket: '/dev/null' });
    anyEvent(log, 'one');
    await log.close();
    anyEvent(log, 'two');
    await log.close();
    expect(instead).toEqual([
      `ACTION=event-log-failed REASON="${logger.path} ended with 3"`,
      'ACTION=one',
      'ACTION=two',
    ]);
    expect(logger.pids().length).toBe(2);
  });

  it.skipIf(skipped)(`a socket that is not there is noticed${skipped}`, async () => {
    const socket = join(temporaryDirectory(), 'none');
    const { log, instead } = logTo({ socket });
    anyEvent(log, 'one');
    await log.close();
    expect(instead).toEqual([
      `ACTION=event-log-failed REASON="there is no ${socket}, so lines go to standard error"`,
      'ACTION=one',
    ]);
  });

  it.skipIf(skipped)(`syslog is tried again when it may be back${skipped}`, async () => {
    const { path, until } = await syslogSocket();
    const directory = temporaryDirectory();
    const back = join(directory, 'back');
    const logger = program(`[ -e ${back} ] || exit 1\nexec logger "$@"`);
    const { log, instead } = logTo({ socket: path, program: logger.path, retryAfter: 0 });
    anyEvent(log, 'one');
    await log.close();
    writeFileSync(back, '');
    anyEvent(log, 'last');
    await log.close();
    expect((await until(last)).map(({ text }) => text)).toEqual(['ACTION=last']);
    expect(instead.at(-1)).toBe('ACTION=one');
  });

  it('a logger that takes nothing holds nobody up at the end, and its lines are not lost', async () => {
    const logger = program('exec sleep 600');
    const { log, instead } = logTo({ program: logger.path, closeWithin: 300 });
    const fields = { x: 'x'.repeat(900) };
    for (let index = 0; index < 1_000; index += 1) log.emit({ action: `a${index}`, fields });
    const started = performance.now();
    await log.close();
    expect(performance.now() - started).toBeLessThan(5_000);
    expect(instead.length).toBeGreaterThan(100);
    expect(instead.at(-1)).toMatch(/^ACTION=a999 /);
  });

  it('closing what was never used starts nothing', async () => {
    const logger = program('exit 0');
    const { log } = logTo({ program: logger.path });
    await log.close();
    await log.close();
    expect(logger.pids()).toEqual([]);
  });

  it('a fallback that throws is no failure of the event', async () => {
    const log = syslogEventLog({
      tag: 'test',
      program: '/nonexistent/logger',
      fallback: () => {
        throw new Error('EPIPE');
      },
    });
    expect(() => anyEvent(log, 'one')).not.toThrow();
    await log.close();
    expect(() => anyEvent(log, 'two')).not.toThrow();
  });
});
