import { describe, expect, it } from 'vitest';
import { openDispatcher } from '../../../src/apps/library/index.js';
import { failure, value } from '../../contract/result.js';
import { shared } from '../../support/commands/commands.js';
import {
  at,
  dispatcherCredentials,
  pairedFleet,
  rawRequest,
  runJson,
  runOne,
} from '../../support/fleet/fleet.js';

/** Prints its arguments, each ended by a NUL. */
const echo = '#!/bin/sh\n[ $# -eq 0 ] || printf \'%s\\0\' "$@"\n';
const kernelLimit = 131_072;

const fleet = shared(() => pairedFleet({ web: { name: 'web-01', scripts: { echo }, serves: true } }));

/** What the script was given through the command. */
async function arrived(args: readonly string[]): Promise<string[]> {
  const { exit, stdout } = await runOne(fleet().control, 'web-01', 'echo', ...args);
  expect(exit).toBe(0);
  return stdout.split('\0').slice(0, -1);
}

const bytes = (texts: readonly string[]) => texts.map((text) => Buffer.from(text).toString('hex'));

describe('arguments behind -- arrive byte for byte', () => {
  it.each<[string, readonly string[]]>([
    ['none at all', []],
    ['spaces and tabs', [' ', 'a b', '  lead', 'trail  ', '\t', 'a\tb']],
    ['quotes', ['"', "'", '"a"', "'a'", `"'"'`, '\\', '\\"', "\\'", '`']],
    ['newlines', ['\n', 'a\nb', '\r\n', 'a\n', '\n\n']],
    [
      'what a shell would expand',
      ['$(id)', '`id`', '$HOME', '\u0024{PATH}', '*', '~', '?', '[a-z]', '{a,b}', '!!'],
    ],
    ['what a shell would obey', [';', '; rm -rf x', '&&', '|', '>', '> /tmp/x', '<', '&', '#', '(a)']],
    [
      'unicode',
      [
        'é',
        'e\u0301',
        '日本語',
        '🏴‍☠️',
        '\u202e',
        '\ufeff',
        '\u00a0',
        '\u2028',
        '\u007f',
        '\u0001',
        '\u001b[31m',
      ],
    ],
    ['empty ones', ['', '', 'x', '']],
    ['leading dashes', ['-', '-x', '--json', '--home', '/nowhere', '--help', '-V', '--token=t', '---']],
    ['a literal --', ['--', 'a', '--', '--']],
    [
      'what looks like JSON or a host',
      ['{"script":"x"}', '[]', 'null', 'web-01', 'echo', '%s%n', '\\u0041', '\\0'],
    ],
  ])('%s', async (_name, args) => {
    expect(bytes(await arrived(args))).toEqual(bytes(args));
  });

  it('a thousand of them', async () => {
    const args = Array.from({ length: 1000 }, (_, index) => `argument ${index}\n`);
    expect(await arrived(args)).toEqual(args);
  });

  it('100 KB in one', async () => {
    const long = 'x"é\n'.repeat(20_000);
    expect(Buffer.byteLength(long)).toBe(100_000);
    const [only, ...others] = await arrived([long]);
    expect(others).toEqual([]);
    expect(only === long).toBe(true);
  });
});

it('words behind -- that stand for no script are not dropped', async () => {
  const { code } = await fleet().control.command('ping', 'web-01', '--', 'no-such-host.invalid');
  expect(code).not.toBe(0);
});

/** Through the library, which no limit of a command line binds. */
async function throughLibrary(args: readonly string[]) {
  await using dispatcher = await openDispatcher({ home: fleet().control.home });
  const outcome = await dispatcher.run({ hosts: ['web-01'], script: 'echo', args });
  return outcome.map(({ results }) => results[0]);
}

describe('limits of the system', () => {
  it('the longest argument that the kernel takes arrives', async () => {
    const longest = 'y'.repeat(kernelLimit - 1);
    const result = value(await throughLibrary([longest]));
    expect(result?.exit).toBe(0);
    expect(result?.stdout === `${longest}\0`).toBe(true);
  });

  it('one byte more is exit 126 and says why', async () => {
    const result = value(await throughLibrary(['y'.repeat(kernelLimit)]));
    expect(result).toMatchObject({ exit: 126, stdout: '', stderr: '' });
    expect(result?.error).toMatch(/could not be executed: arguments exceed the system's limit \(E2BIG\)$/);
  });

  it('many that fit into one request arrive', async () => {
    const args = Array.from({ length: 9 }, (_, index) => String(index).repeat(100_000));
    const result = value(await throughLibrary(args));
    expect(result?.exit).toBe(0);
    expect(result?.stdout.length).toBe(900_009);
  });

  it('more than a request may hold is refused with the limit', async () => {
    const result = value(await throughLibrary(Array.from({ length: 11 }, () => 'z'.repeat(100_000))));
    expect(result?.exit).toBe(-1);
    expect(result?.error).toContain('larger than 1048576 bytes');
  });

  it('half a surrogate pair, which has no bytes, is not run', async () => {
    const outcome = await throughLibrary(['\ud83d']);
    const said = outcome.match(
      (result) => `${result?.exit} ${result?.error}`,
      (error) => `${error.code} ${error.message}`,
    );
    expect(said).toMatch(/surrogate|invalid JSON/);
    expect(said).not.toMatch(/^0 /);
  });
});

describe('what is no argument is refused', () => {
  it.each<[string, unknown]>([
    ['a NUL', ['a\0b']],
    ['a number', [1]],
    ['null', [null]],
    ['a list', [['a']]],
    ['an object', [{}]],
    ['a truth value', ['a', true]],
  ])('by the agent: %s', async (_name, args) => {
    const { control, web } = fleet();
    const body = JSON.stringify({ script: 'echo', args, reqid: 'a3f9b2c100010002' });
    const answer = await rawRequest(web.port, dispatcherCredentials(control), '/run', body);
    expect(answer.statusLine).toBe('HTTP/1.0 200 OK');
    expect(JSON.parse(answer.body)).toEqual({
      script: 'echo',
      exit: -1,
      error: 'args must be strings without NUL',
      reqid: 'a3f9b2c100010002',
    });
  });

  it('by the agent: what is no list', async () => {
    const { control, web } = fleet();
    const body = JSON.stringify({ script: 'echo', args: 'a', reqid: 'r1' });
    const answer = await rawRequest(web.port, dispatcherCredentials(control), '/run', body);
    expect(JSON.parse(answer.body)).toEqual({ exit: -1, error: 'args must be an array', reqid: 'r1' });
  });

  it.each<[string, readonly unknown[], string]>([
    ['a NUL', ['a\0b'], 'args: must be strings without NUL'],
    ['a number', [1], 'args[0]: expected text'],
  ])('by the library, before anybody is asked: %s', async (_name, args, message) => {
    const outcome = await throughLibrary(args as readonly string[]);
    expect(failure(outcome)).toMatchObject({ code: 'invalid_argument', message });
  });
});

it('every host gets the same arguments', async () => {
  const { control } = fleet();
  const db = await control.pairAgent('db-01');
  db.script('echo', echo);
  await db.serve();
  const results = await runJson(control, ['web-01', at(db)], 'echo', ['$(id)', '']);
  expect(results.map(({ stdout }) => stdout)).toEqual(['$(id)\0\0', '$(id)\0\0']);
});
