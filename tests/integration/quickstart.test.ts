import { type ChildProcess, spawn } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { commandFile, freePort } from '../support/commands/commands.js';
import { noTerminal } from '../support/commands/terminal.js';

/**
 * Carries out docs/quickstart.md as it stands: `console` blocks are typed into the terminal that their first line names,
 * files are written where "Write `path`:" stands before a block, and each terminal must show what the document shows.
 */
const document = readFileSync(new URL('../../docs/quickstart.md', import.meta.url), 'utf8');

/** What the document calls what is different on every machine. */
const written = { home: '/home/alice', hostName: 'laptop', user: 'alice', ports: ['7443', '7444'] };

type Block =
  | { readonly kind: 'file'; readonly path: string; readonly text: string }
  | { readonly kind: 'console'; readonly terminal: string; readonly lines: readonly string[] };

function blocksOf(markdown: string): readonly Block[] {
  const found = markdown.matchAll(/(?:Write `([^`\n]+)`:\n\n)?^```(\w+)\n([\s\S]*?)^```$/gm);
  return [...found].flatMap(([, path, language, text = '']): Block[] => {
    if (path !== undefined) return [{ kind: 'file', path, text }];
    if (language !== 'console') return [];
    const [head = '', ...lines] = text.trimEnd().split('\n');
    const terminal = /^# (terminal \d)$/.exec(head)?.[1];
    if (terminal === undefined)
      throw new Error(`a console block begins with "${head}", not with its terminal`);
    return [{ kind: 'console', terminal, lines }];
  });
}

/** A terminal's text as the eye sees it: carriage returns, erasing and the cursor's column are carried out. */
function screenOf(output: string): readonly string[] {
  const lines: string[] = [];
  let line = '';
  let column = 0;
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that is what terminal output is made of
  for (const [token, parameter = '', command] of output.matchAll(/\x1b\[([?\d;]*)([A-Za-z])|[\s\S]/g)) {
    if (command === 'G') column = Number(parameter || 1) - 1;
    else if (command === 'J' || command === 'K') line = line.slice(0, column);
    else if (token === '\r') column = 0;
    else if (token === '\n') {
      lines.push(line);
      [line, column] = ['', 0];
    } else if (command === undefined) {
      line = line.slice(0, column).padEnd(column) + token + line.slice(column + 1);
      column += 1;
    }
  }
  return [...lines, line];
}

/** What differs from one time to the next, and how far a table's columns are apart. */
const varying: ReadonlyArray<readonly [RegExp, string]> = [
  [/\b(?:[0-9A-F]{2}:){31}[0-9A-F]{2}\b/g, '<fingerprint>'],
  [/\b[0-9a-f]{32}\b/g, '<serial>'],
  [/\b[0-9a-f]{16}\b/g, '<reqid>'],
  [/\b(Request|Approved) [0-9a-f]{8}\b/g, '$1 <id>'],
  [/\b(code:?) +[0-9a-f]{8}-\d{6}\b/g, '$1 <code>'],
  [/\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d\.\d{3})?Z/g, '<time>'],
  [/\b[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4} GMT\b/g, '<time>'],
  [/\b\d+ms\b/g, '<ms>'],
  [/\bMS=\d+\b/g, 'MS=<ms>'],
  [/-{20,}/g, '<dashes>'],
  [/ {2,}/g, ' '],
];

const masked = (line: string): string =>
  varying.reduce((text, [pattern, name]) => text.replaceAll(pattern, name), line).trimEnd();

interface Terminal {
  type(text: string): void;
  screen(): readonly string[];
  /** Resolves at the next output, or at the end. */
  more(): Promise<void>;
  close(): Promise<void>;
}

const childrenOf = (pid: number): readonly number[] => {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    return children === '' ? [] : children.split(' ').map(Number);
  } catch {
    return [];
  }
};

/** All that it started, the youngest first. */
const familyOf = (pid: number): readonly number[] => [...childrenOf(pid).flatMap(familyOf), pid];

/** A shell on a pseudo-terminal, in the home directory. */
function openTerminal(home: string, bin: string): Terminal {
  const shell = 'exec bash --noprofile --norc --noediting -i';
  const child: ChildProcess = spawn('script', ['-qfec', shell, '/dev/null'], {
    cwd: home,
    env: {
      HOME: home,
      LANG: 'C.UTF-8',
      PATH: `${bin}:${dirname(process.execPath)}:${process.env['PATH']}`,
      PS1: '$ ',
      SHELL: '/bin/sh',
      TERM: 'xterm',
      USER: written.user,
    },
  });
  let output = '';
  let waiting: (() => void)[] = [];
  const wake = () => {
    for (const resolve of waiting.splice(0)) resolve();
  };
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    wake();
  });
  child.stdin?.on('error', () => undefined);
  let over = false;
  const ended = new Promise<void>((resolve) =>
    child.once('close', () => {
      over = true;
      wake();
      resolve();
    }),
  );
  return {
    type: (text) => void child.stdin?.write(text),
    screen: () => screenOf(output),
    more: () => (over ? ended : new Promise((resolve) => (waiting = [...waiting, resolve]))),
    async close() {
      if (over || child.pid === undefined) return;
      for (const pid of familyOf(child.pid))
        try {
          process.kill(pid, 'SIGKILL');
        } catch {
          // It has just ended.
        }
      await ended;
    },
  };
}

/** The keys behind a prompt, where the line is one that a person types at. */
function typedIn(line: string): { readonly prompt: string; readonly keys: string } | undefined {
  if (line.startsWith('^C')) return { prompt: '', keys: '\x03' };
  const [, prompt, text] = /^(\$ |pairing> |.*\[y\/N\] )(.+)$/.exec(line) ?? [];
  return prompt === undefined || text === undefined ? undefined : { prompt, keys: `${text}\r` };
}

const place = mkdtempSync(join(realpathSync(tmpdir()), 'ctrl-exec-quickstart-'));
const home = join(place, 'home');
const bin = join(place, 'bin');
const terminals = new Map<string, Terminal>();
let ports: readonly number[] = [];

/** From the document's words to this machine's, and back. */
const ours = (text: string): string =>
  written.ports.reduce((result, port, index) => result.replaceAll(port, String(ports[index])), text);
const theirs = (line: string): string =>
  written.ports
    .reduce((result, port, index) => result.replaceAll(String(ports[index]), port), line)
    .replaceAll(home, written.home)
    .replaceAll(`(${hostname()})`, `(${written.hostName})`);

const patience = 30_000;

/** Waits until the terminal shows these lines, and perhaps a prompt of the shell after them; then it must. */
async function expectScreen(terminal: Terminal, lines: readonly string[]): Promise<void> {
  const expected = lines.map(masked);
  const shown = () => {
    // Where there is no syslog, setup-ca says so.
    const said = terminal.screen().filter((line) => !line.startsWith('note: there is no /dev/log'));
    const screen = said.map((line) => masked(theirs(line)));
    const last = screen.at(-1) ?? '';
    if (last === '' || (last === '$' && expected.at(-1) !== '$')) screen.pop();
    else if (last === '^C$') screen[screen.length - 1] = '^C';
    return screen;
  };
  const deadline = Date.now() + patience;
  const isAsExpected = () => JSON.stringify(shown()) === JSON.stringify(expected);
  while (!isAsExpected() && Date.now() < deadline) {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, deadline - Date.now());
    });
    await Promise.race([terminal.more(), late]);
    clearTimeout(timer);
  }
  expect(shown()).toEqual(expected);
}

beforeAll(async () => {
  if (noTerminal) return;
  mkdirSync(home);
  mkdirSync(bin);
  for (const command of ['ctrl-exec', 'ctrl-exec-agent'] as const)
    symlinkSync(commandFile(command), join(bin, command));
  ports = [await freePort(), await freePort()];
});

afterAll(async () => {
  for (const terminal of terminals.values()) await terminal.close();
  rmSync(place, { recursive: true, force: true });
});

const skipped = noTerminal ? ` (skipped: ${noTerminal})` : '';

it.skipIf(noTerminal)(
  `the quickstart, typed as it is written, shows what is written${skipped}`,
  async () => {
    const shown = new Map<string, string[]>();
    let typed = 0;
    for (const block of blocksOf(document)) {
      if (block.kind === 'file') {
        writeFileSync(join(home, 'quickstart', block.path), ours(block.text));
        continue;
      }
      const terminal = terminals.get(block.terminal) ?? openTerminal(home, bin);
      terminals.set(block.terminal, terminal);
      const lines = shown.get(block.terminal) ?? [];
      shown.set(block.terminal, lines);
      // A question that is answered only now is in both blocks.
      const open = lines.at(-1);
      if (open?.endsWith('[y/N]') && block.lines[0]?.startsWith(`${open} `)) lines.pop();
      for (const line of block.lines) {
        const input = typedIn(line);
        if (input) {
          const before = lines.at(-1) === input.prompt.trimEnd() ? lines.slice(0, -1) : lines;
          await expectScreen(terminal, [...before, ...(input.prompt === '' ? [] : [input.prompt])]);
          lines.splice(0, lines.length, ...before);
          terminal.type(ours(input.keys));
          typed += 1;
        }
        lines.push(line);
      }
      // A command that says nothing is over when the shell asks again.
      const silent = lines.at(-1)?.startsWith('$ ');
      await expectScreen(terminal, silent ? [...lines, '$'] : lines);
    }
    expect(typed).toBeGreaterThan(20);
    const codes = [...terminals.values()].map(
      (terminal) => /code:? +([0-9a-f]{8}-\d{6})/.exec(terminal.screen().join('\n'))?.[1],
    );
    expect(new Set(codes).size, `the same code in both terminals: ${codes}`).toBe(1);
  },
  120_000,
);
