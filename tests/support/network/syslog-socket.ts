import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

/** One datagram as syslog got it. */
interface SyslogMessage {
  readonly priority: number;
  readonly tag: string;
  readonly pid: number;
  readonly text: string;
}

export interface SyslogSocket {
  readonly path: string;
  /** All messages up to and with the first that fits. */
  until(fits: (message: SyslogMessage) => boolean): Promise<readonly SyslogMessage[]>;
}

const works = (program: string, ...args: string[]): boolean => spawnSync(program, args).status === 0;

/** Undefined: syslog can be tested here. Else what is missing, for the name of a test that is skipped. */
export const missingForSyslog: string | undefined = !works('logger', '--version')
  ? 'logger (util-linux) is not installed'
  : works('perl', '-MSocket', '-e', '1')
    ? undefined
    : 'perl, which listens on the Unix datagram socket, is not installed';

const listener = `
  socket(S, AF_UNIX, SOCK_DGRAM, 0) and bind(S, pack_sockaddr_un($ARGV[0])) or die $!;
  $| = 1;
  print "ready\\n";
  while (defined recv(S, $datagram, 1 << 18, 0)) { print unpack("H*", $datagram), "\\n" }
`;

const header = /^<(\d+)>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d ([^[ ]+)\[(\d+)\]: (.*)$/s;

/** Node has no Unix datagram sockets: another program listens on one until the test ends. */
export async function syslogSocket(): Promise<SyslogSocket> {
  const directory = mkdtempSync(join(tmpdir(), 'ctrl-exec-syslog-'));
  const path = join(directory, 'log');
  const child = spawn('perl', ['-MSocket', '-e', listener, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => child.once('close', resolve));
  onTestFinished(async () => {
    child.kill('SIGKILL');
    await ended;
    rmSync(directory, { recursive: true, force: true });
  });
  const messages: SyslogMessage[] = [];
  const watchers = new Set<() => void>();
  let rest = '';
  let ready: () => void;
  const listening = new Promise<void>((resolve) => {
    ready = resolve;
  });
  child.stdout.setEncoding('latin1').on('data', (data: string) => {
    const lines = (rest + data).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line === 'ready') ready();
      else messages.push(parse(Buffer.from(line, 'hex').toString()));
    }
    for (const watcher of watchers) watcher();
  });
  await Promise.race([listening, ended]);
  return {
    path,
    until: (fits) =>
      new Promise((resolve) => {
        const watcher = () => {
          const found = messages.findIndex(fits);
          if (found < 0) return;
          watchers.delete(watcher);
          resolve(messages.slice(0, found + 1));
        };
        watchers.add(watcher);
        watcher();
      }),
  };
}

function parse(datagram: string): SyslogMessage {
  const [, priority, tag, pid, text] = header.exec(datagram) ?? [];
  if (tag === undefined || text === undefined)
    throw new Error(`not a syslog message: ${JSON.stringify(datagram)}`);
  return { priority: Number(priority), tag, pid: Number(pid), text };
}
