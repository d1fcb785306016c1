import { spawn } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, normalize, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../../', import.meta.url));

interface Violation {
  readonly rule: string;
  readonly from: string;
  readonly to: string;
}

/** What dependency-cruiser says about `src` below a directory, with the rules of this repository. */
async function violationsIn(directory: string): Promise<readonly Violation[]> {
  const program = join(root, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs');
  const options = ['src', '--config', join(root, '.dependency-cruiser.mjs'), '--output-type', 'json'];
  const child = spawn(process.execPath, [program, ...options], { cwd: directory });
  let output = '';
  let complaint = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  await new Promise((resolve) => child.once('close', resolve));
  if (output === '') throw new Error(`dependency-cruiser said nothing but: ${complaint}`);
  const { summary } = JSON.parse(output) as {
    summary: { totalCruised: number; violations: { rule: { name: string }; from: string; to: string }[] };
  };
  expect(summary.totalCruised).toBeGreaterThan(10);
  return summary.violations.map(({ rule, from, to }) => ({ rule: rule.name, from, to }));
}

/** Rule that must be broken, file that breaks it, its text. */
const illegal: readonly (readonly [rule: string, path: string, text: string])[] = [
  ['domain-is-pure', 'domain/reads-files.ts', "import { readFileSync } from 'node:fs'; readFileSync('/');"],
  ['domain-is-pure', 'domain/http2.ts', "import 'node:http2';"],
  ['domain-is-pure', 'domain/timers.ts', "import { setTimeout } from 'node:timers/promises'; setTimeout(1);"],
  ['domain-is-pure', 'domain/diagnostics.ts', "import 'node:diagnostics_channel';"],
  ['domain-is-pure', 'domain/tests.ts', "import 'node:test';"],
  ['domain-is-pure', 'domain/without-prefix.ts', "import 'crypto';"],
  [
    'domain-is-pure',
    'domain/type-of-node.ts',
    "import type { Stats } from 'node:fs'; export type S = Stats;",
  ],
  ['domain-is-pure', 'domain/later.ts', "export const later = () => import('node:fs');"],
  [
    'domain-is-pure',
    'domain/requires.ts',
    "import { createRequire } from 'node:module'; createRequire('/');",
  ],
  ['domain-is-pure', 'domain/library.ts', "import 'undici';"],
  ['domain-is-pure', 'domain/scoped.ts', "import '@peculiar/x509';"],
  ['domain-is-pure', 'domain/unknown.ts', "import 'left-pad';"],
  ['domain-is-pure', 'domain/unknown-scoped.ts', "import '@left/pad2';"],
  [
    'domain-imports-domain-only',
    'domain/port.ts',
    "import type { P } from '../ports/good.js'; export type Q = P;",
  ],
  ['domain-imports-domain-only', 'domain/sdk.ts', "import '../sdk/good.js';"],
  ['domain-imports-domain-only', 'domain/adapter.ts', "import '../adapters/files/good.js';"],
  ['domain-imports-domain-only', 'domain/app.ts', "import '../apps/defaults.js';"],
  ['room-domain-core', 'domain/core/trusts.ts', "import '../trust/good.js';"],
  [
    'room-domain-protocol',
    'domain/protocol/trusts.ts',
    "import type { t } from '../trust/good.js'; export type T = t;",
  ],
  ['room-domain-runs', 'domain/runs/pairs.ts', "import '../pairing/good.js';"],
  ['room-domain-settings', 'domain/settings/legacy.ts', "import '../legacy/good.js';"],
  ['room-sdk-protocol', 'sdk/protocol/agent.ts', "import '../agent/trust/good.js';"],
  ['room-sdk-agent', 'sdk/agent/trust/dispatcher.ts', "import '../../dispatcher/trust/good.js';"],
  ['room-sdk-dispatcher-trust', 'sdk/dispatcher/trust/runs.ts', "import '../runs/good.js';"],
  ['room-sdk-dispatcher-pairing', 'sdk/dispatcher/pairing/runs.ts', "import '../runs/good.js';"],
  ['room-sdk-agent-trust', 'sdk/agent/trust/runs.ts', "import '../runs/good.js';"],
  ['room-adapters-sql-shared', 'adapters/sql/shared/sqlite.ts', "import '../sqlite/good.js';"],
  ['rooms-stand-on-the-context', 'sdk/agent/runs/serves.ts', "import '../serve.js';"],
  ['ports-import-domain-only', 'ports/sdk.ts', "import type { S } from '../sdk/good.js'; export type T = S;"],
  ['ports-import-domain-only', 'ports/adapter.ts', "import '../adapters/files/good.js';"],
  ['ports-are-types', 'ports/node.ts', "import type { Socket } from 'node:net'; export type S = Socket;"],
  ['ports-are-types', 'ports/node-http2.ts', "import type { X } from 'node:http2'; export type S = X;"],
  ['ports-are-types', 'ports/library.ts', "import type { D } from 'undici'; export type E = D;"],
  ['ports-hold-no-code', 'ports/behaviour.ts', "import { ok } from 'neverthrow'; export const p = ok(1);"],
  ['sdk-imports-ports-and-domain', 'sdk/adapter.ts', "import '../adapters/files/good.js';"],
  ['sdk-imports-ports-and-domain', 'sdk/dispatcher/adapter.ts', "import '../../adapters/files/good.js';"],
  ['sdk-imports-ports-and-domain', 'sdk/app.ts', "import '../apps/defaults.js';"],
  ['sdk-is-technology-free', 'sdk/library.ts', "import 'undici';"],
  ['sdk-is-technology-free', 'sdk/scoped.ts', "import type { X } from '@peculiar/x509'; export type Y = X;"],
  ['sdk-is-technology-free', 'sdk/node.ts', "import 'node:crypto';"],
  ['sdk-is-technology-free', 'sdk/node-http2.ts', "import 'node:http2';"],
  ['adapters-import-ports-and-domain', 'adapters/files/use-case.ts', "import '../../sdk/good.js';"],
  ['adapters-import-ports-and-domain', 'adapters/files/app.ts', "import '../../apps/defaults.js';"],
  ['adapters-do-not-know-each-other', 'adapters/files/sibling.ts', "import '../memory/good.js';"],
  ['adapters-do-not-know-each-other', 'adapters/undici/prefix.ts', "import '../undici-extra/good.js';"],
  ['adapter-libraries', 'adapters/files/library.ts', "import 'undici';"],
  ['adapter-libraries', 'adapters/undici-extra/library.ts', "import 'undici';"],
  ['adapter-libraries', 'adapters/files/type.ts', "import type { D } from 'undici'; export type E = D;"],
  ['adapter-undici-libraries', 'adapters/undici/library.ts', "import 'kysely';"],
  ['adapter-x509-libraries', 'adapters/x509/library.ts', "import 'undici';"],
  ['adapter-sql-libraries', 'adapters/sql/sqlite/library.ts', "import '@peculiar/x509';"],
  ['apps-do-not-know-each-other', 'apps/cli/agent.ts', "import '../agent/good.js';"],
  ['apps-do-not-know-each-other', 'apps/agent/cli.ts', "import '../cli/good.js';"],
  ['tsyringe-in-composition-only', 'apps/cli/injects.ts', "import 'tsyringe';"],
  ['tsyringe-in-composition-only', 'apps/defaults-too.ts', "import 'tsyringe';"],
  ['tsyringe-in-composition-only', 'sdk/injects.ts', "import 'tsyringe';"],
  ['library-without-command-libraries', 'apps/library/parses.ts', "import 'commander';"],
  ['library-without-command-libraries', 'apps/library/composes.ts', "import '../composition.js';"],
  ['library-without-command-libraries', 'apps/library/commands.ts', "import '../cli/good.js';"],
  ['library-without-command-libraries', 'apps/library/indirect.ts', "import '../parsing.js';"],
  [
    'library-without-command-libraries',
    'apps/library/later.ts',
    "export const x = () => import('commander');",
  ],
  ['only-composition-wires-adapters', 'apps/cli/adapter.ts', "import '../../adapters/files/good.js';"],
  ['only-composition-wires-adapters', 'apps/composition-too.ts', "import '../adapters/files/good.js';"],
  ['only-composition-wires-adapters', 'apps/library/adapter.ts', "import '../../adapters/files/good.js';"],
  ['src-does-not-import-dev-dependencies', 'adapters/files/checks.ts', "import 'fast-check';"],
  ['src-does-not-import-dev-dependencies', 'apps/cli/unknown.ts', "import 'left-pad';"],
  ['src-does-not-import-dev-dependencies', 'apps/cli/unknown-scoped.ts', "import '@left/pad2';"],
  ['tests-stay-outside', 'apps/cli/tested.ts', "import '../../../tests/support/good.js';"],
  ['tests-stay-outside', 'domain/tested.ts', "import '../../tests/support/good.js';"],
  [
    'contracts-are-suites-only',
    'apps/library/testing/contracts.ts',
    "import '../../../../tests/contract/bad.contract.js'; import '../../../../tests/support/good.js';",
  ],
  ['testing-is-for-tests', 'sdk/with-suites.ts', "import '../apps/library/testing/contracts.js';"],
  [
    'published-suites-know-the-contract-only',
    '../tests/contract/bad.contract.ts',
    "import '../support/good.js'; import '../../src/adapters/files/good.js'; import 'commander';",
  ],
  [
    'libraries-of-published-suites',
    '../tests/contract/bad.contract.ts',
    "import '../support/good.js'; import '../../src/adapters/files/good.js'; import 'commander';",
  ],
  ['no-cycles', 'sdk/cycle-a.ts', "import './cycle-b.js';"],
  ['no-orphans', 'sdk/orphan.ts', 'export const alone = 1;'],
];

/** What must be allowed. */
const legal: Readonly<Record<string, string>> = {
  'src/domain/good.ts':
    "import { ok } from 'neverthrow'; import ip from 'ipaddr.js'; export const d = ok(ip);",
  'src/domain/trust/good.ts': "import '../core/good.js'; export const t = 1;",
  'src/domain/core/good.ts': 'export const c = 1;',
  'src/domain/pairing/good.ts': "import '../trust/good.js';",
  'src/domain/legacy/good.ts': "import '../pairing/good.js'; import '../core/good.js';",
  'src/sdk/agent/trust/good.ts': "import '../context.js'; import '../../core/good.js';",
  'src/sdk/agent/runs/good.ts': "import '../trust/good.js';",
  'src/sdk/agent/context.ts': 'export const context = 1;',
  'src/sdk/agent/serve.ts': "import './runs/good.js';",
  'src/sdk/core/good.ts': 'export const k = 1;',
  'src/sdk/dispatcher/trust/good.ts': "import '../../core/good.js';",
  'src/sdk/dispatcher/runs/good.ts': "import '../trust/good.js';",
  'src/ports/good.ts':
    "import type { ResultAsync } from 'neverthrow'; import type { d } from '../domain/good.js'; export type P = ResultAsync<typeof d, 1>;",
  'src/sdk/good.ts':
    "import { ok } from 'neverthrow'; import type { P } from '../ports/good.js'; import { d } from '../domain/good.js'; export type S = P; ok(d);",
  'src/adapters/files/good.ts':
    "import 'node:fs'; import 'node:http2'; import { ok } from 'neverthrow'; import type { P } from '../../ports/good.js'; export const f = ok<P>;",
  'src/adapters/memory/good.ts': "import './further.js'; import '../../domain/good.js';",
  'src/adapters/memory/further.ts': 'export const further = 1;',
  'src/adapters/undici/good.ts': "import 'undici';",
  'src/adapters/undici-extra/good.ts': "import '../../domain/good.js';",
  'src/adapters/x509/good.ts': "import 'reflect-metadata'; import '@peculiar/x509';",
  'src/adapters/sql/sqlite/good.ts': "import 'kysely'; import 'libsql';",
  'src/apps/defaults.ts':
    "import '../adapters/files/good.js'; import '../adapters/memory/good.js'; export const u = () => import('../adapters/undici/good.js'); import '../adapters/undici-extra/good.js'; import '../adapters/x509/good.js'; import '../adapters/sql/sqlite/good.js';",
  'src/apps/composition.ts': "import 'reflect-metadata'; import 'tsyringe'; import './defaults.js';",
  'src/apps/cli/good.ts': "import 'commander'; import '../composition.js'; import '../../sdk/good.js';",
  'src/apps/agent/good.ts': "import 'commander'; import '../composition.js';",
  'src/apps/library/good.ts': "import '../defaults.js'; import '../../sdk/good.js';",
};

/** The entry that publishes contract suites, and a suite. */
const legalTesting: Readonly<Record<string, string>> = {
  'src/apps/library/testing/contracts.ts': "export { c } from '../../../../tests/contract/good.contract.js';",
  'tests/contract/good.contract.ts':
    "import 'vitest'; import 'fast-check'; import 'node:crypto'; import '../../src/domain/good.js'; import './samples.js'; import type { P } from '../../src/ports/good.js'; export type c = P;",
  'tests/contract/samples.ts': "import 'reflect-metadata'; import '@peculiar/x509';",
};

/** Files that the illegal ones need, and that break further rules by it. */
const further: Readonly<Record<string, string>> = {
  'src/sdk/cycle-b.ts': "import './cycle-a.js';",
  'src/apps/parsing.ts': "import 'commander';",
  'tests/support/good.ts': 'export const t = 1;',
};

const packages = [
  'neverthrow',
  'ipaddr.js',
  'undici',
  'reflect-metadata',
  '@peculiar/x509',
  'kysely',
  'libsql',
];
const commandPackages = ['tsyringe', 'commander', 'fast-check', 'vitest'];

function plant(directory: string, files: Readonly<Record<string, string>>) {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true });
    writeFileSync(join(directory, path), text);
  }
}

/** A small tree of the same layout, with packages of the same names. */
function plantTree(files: Readonly<Record<string, string>>): string {
  const directory = mkdtempSync(join(tmpdir(), 'boundaries-'));
  for (const file of ['package.json', 'tsconfig.json']) cpSync(join(root, file), join(directory, file));
  for (const name of [...packages, ...commandPackages])
    plant(directory, {
      [`node_modules/${name}/package.json`]: JSON.stringify({ name, version: '1.0.0', main: 'index.js' }),
      [`node_modules/${name}/index.js`]: 'module.exports = {};',
      [`node_modules/${name}/index.d.ts`]: 'export {};',
    });
  plant(directory, files);
  return directory;
}

const planted: string[] = [];
afterAll(() => {
  for (const directory of planted) rmSync(directory, { recursive: true, force: true });
});

describe('an import against the arrows is found', () => {
  let found: readonly Violation[] = [];
  beforeAll(async () => {
    const wrong = Object.fromEntries(illegal.map(([, path, text]) => [`src/${path}`, text]));
    const directory = plantTree({ ...legal, ...further, ...wrong });
    planted.push(directory);
    found = await violationsIn(directory);
  });

  it.each(illegal)('%s: %s', (rule, path) => {
    expect(
      found.filter(({ from }) => from === normalize(`src/${path}`)).map((violation) => violation.rule),
    ).toContain(rule);
  });

  it('and none in a file that keeps to them', () => {
    expect(found.filter(({ from }) => from in legal)).toEqual([]);
  });
});

it('a tree that keeps to the arrows is clean', async () => {
  const directory = plantTree({ ...legal, ...legalTesting });
  planted.push(directory);
  expect(await violationsIn(directory)).toEqual([]);
});

/** Imports against the rooms that were there when the rooms were made. */
const known: readonly { rule: { name: string }; from: string; to: string }[] = JSON.parse(
  readFileSync(join(root, '.dependency-cruiser-known-violations.json'), 'utf8'),
);

it('the tree of this repository has the known violations and no other; what was mended leaves the list', async () => {
  const listed = known.map(({ rule, from, to }) => `${rule.name}: ${from} -> ${to}`);
  const found = (await violationsIn(root)).map(({ rule, from, to }) => `${rule}: ${from} -> ${to}`);
  expect(found.sort()).toEqual(listed.sort());
});

it('the list of known violations does not grow', () => {
  expect(known.length).toBeLessThanOrEqual(13);
});

/** Folders of which everybody should see at a glance what is in them. */
const folders = [
  'src/domain',
  'src/sdk',
  'src/apps/api',
  'src/adapters',
  'tests/unit',
  'tests/support',
].flatMap((top) => [
  top,
  ...readdirSync(join(root, top), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => relative(root, join(entry.parentPath, entry.name))),
]);

it('no folder is a corridor: at most 20 files lie in one', () => {
  const long = folders.filter(
    (folder) =>
      readdirSync(join(root, folder), { withFileTypes: true }).filter((e) => e.isFile()).length > 20,
  );
  expect(long).toEqual([]);
});

it('every file of domain and sdk lies in a room', () => {
  const loose = ['src/domain', 'src/sdk'].flatMap((folder) =>
    readdirSync(join(root, folder), { withFileTypes: true }).filter((entry) => entry.isFile()),
  );
  expect(loose.map(({ name }) => name)).toEqual([]);
});

/** What needs no import and yet is a clock, chance or the outside world. */
const impure =
  /\b(Date\.now|Math\.random|new Date\(\)|process\.\w|performance\.|setTimeout|setInterval|setImmediate|console\.|fetch\(|globalThis|Buffer\b)/;

it.each(['domain', 'sdk'])('%s reads no clock, no chance and no process', (layer) => {
  const directory = join(root, 'src', layer);
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  );
  expect(files.length).toBeGreaterThan(10);
  expect(files.filter((name) => impure.test(readFileSync(join(directory, name), 'utf8')))).toEqual([]);
});
