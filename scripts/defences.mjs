// Removes each defence of scripts/defences-list.mjs, one at a time, in a copy of the tree, and sees its test fail.
// `--docs` writes the table of docs/security.md instead; an id, or part of a threat or test, as an argument checks only those.
import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { defences } from './defences-list.mjs';

/** @typedef {import('./defences-list.mjs').Defence} Defence */

const root = fileURLToPath(new URL('..', import.meta.url));
const page = join(root, 'docs/security.md');
const begin = '<!-- defences: made by `npm run docs:defences` -->';
const end = '<!-- /defences -->';

/** @param {string} text */
const cell = (text) => text.replaceAll('|', '\\|');

/** The table as it stands in docs/security.md. */
export const defencesTable = () =>
  [
    '| threat | what stops it | the test that fails without it |',
    '| --- | --- | --- |',
    ...defences.map(
      ({ threat, stoppedBy, test, named }) =>
        `| ${cell(threat)} | ${cell(stoppedBy)} | \`${test}\`: ${cell(named)} |`,
    ),
  ].join('\n');

/** docs/security.md with the present table. @param {string} text */
export const withTable = (text) => {
  const [before, rest] = [text.slice(0, text.indexOf(begin)), text.slice(text.indexOf(end))];
  if (!text.includes(begin) || !text.includes(end))
    throw new Error(`${page}: the markers of the table are missing`);
  return `${before}${begin}\n\n${defencesTable()}\n\n${rest}`;
};

/** @typedef {{ file: string, text: string, from: number, to: number }} Marker where the comment stands */

/** Every `defence: <id>` comment below src. @returns {Map<string, Marker[]>} by id */
const findMarkers = () => {
  const found = new Map();
  for (const name of readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.ts')) continue;
    const file = join('src', name);
    const text = readFileSync(join(root, file), 'utf8');
    for (const { 0: comment, 1: id, index } of text.matchAll(/\/[/*] defence: (\S+)(?: \*\/)?/g))
      found.set(id, [...(found.get(id) ?? []), { file, text, from: index, to: index + comment.length }]);
  }
  return found;
};

export const markers = findMarkers();

/** The largest node that begins right after the comment. @param {ts.SourceFile} source @param {Marker} marker */
const markedNode = (source, { from, to }) => {
  /** @param {ts.Node} node @returns {ts.Node | undefined} */
  const visit = (node) =>
    node.pos <= from && node.getStart(source) >= to ? node : ts.forEachChild(node, visit);
  return ts.forEachChild(source, visit);
};

/**
 * A name in the tree that is none of the known ones: it would make a test fail for another reason.
 * @param {ts.Node} tree @param {Set<string>} known
 */
const strangeName = (tree, known) => {
  /** @param {ts.Node} node @returns {string | undefined} */
  const visit = (node) => {
    if (ts.isPropertyAccessExpression(node)) return visit(node.expression);
    if (ts.isPropertyAssignment(node)) return visit(node.initializer);
    if (!ts.isIdentifier(node)) return ts.forEachChild(node, visit);
    return known.has(node.text) || node.text in globalThis ? undefined : node.text;
  };
  return visit(tree);
};

/** The file of a defence without it. Throws where that is not possible. @param {Defence} defence */
export const withoutDefence = ({ defence, without }) => {
  /** @param {string} why @returns {never} */
  const fail = (why) => {
    throw new Error(`${defence}: ${why}`);
  };
  const [marker = fail('src has no marker of it'), another] = markers.get(defence) ?? [];
  if (another) fail('src has more than one marker of it');
  const { file, text } = marker;
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest);
  const marked = markedNode(source, marker) ?? fail('nothing begins after its marker');
  const [node, by] =
    without === 'never'
      ? [ts.isIfStatement(marked) ? marked.expression : fail('its marker is before no if'), 'false']
      : [marked, without === 'remove' ? '' : without.by.replaceAll('$&', () => marked.getText(source))];
  const rest = text.slice(node.end).replace(without === 'remove' ? /^\s*,/ : '', '');
  const changed = text.slice(0, node.getStart(source)) + by + rest;
  if (changed === text) fail('its removal changes nothing');
  /** @type {any} the types do not have what the parser objects to */
  const parsed = ts.createSourceFile(file, changed, ts.ScriptTarget.Latest);
  if (parsed.parseDiagnostics.length > 0) fail('its removal gives no valid syntax');
  const strange = strangeName(parsed, new Set(text.match(/\w+/g)));
  if (strange !== undefined) fail(`its removal uses the name ${strange}, which ${file} does not have`);
  return { file, text, changed };
};

/** A copy of what the tests need, with a configuration that knows every tier and builds nothing. */
const copyOfTree = () => {
  const copy = mkdtempSync(join(tmpdir(), 'ctrl-exec-defences-'));
  writeFileSync(
    join(copy, 'vitest.config.ts'),
    "export default { test: { include: ['tests/**/*.test.ts'], testTimeout: 60_000 } };",
  );
  for (const name of ['src', 'tests', 'scripts', 'docs', 'package.json', 'tsconfig.json'])
    cpSync(join(root, name), join(copy, name), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  return copy;
};

/** A test name as a pattern that means nothing but itself. @param {string} text */
const literally = (text) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');

/** @typedef {{ name: string, passed: boolean }} Ran */

/**
 * Runs the named tests of these files. @param {string} directory @param {readonly Defence[]} chosen
 * @returns {Promise<readonly Ran[]>} those that ran
 */
const runTests = (directory, chosen) =>
  new Promise((resolve) => {
    const vitest = join(root, 'node_modules/vitest/vitest.mjs');
    const files = new Set(chosen.map(({ test }) => `tests/${test}`));
    const names = chosen.map(({ named }) => literally(named)).join('|');
    const args = [vitest, 'run', ...files, '-t', names, '--reporter=json'];
    const child = spawn(process.execPath, args, { cwd: directory, stdio: ['ignore', 'pipe', 'ignore'] });
    let output = '';
    child.stdout.on('data', (chunk) => {
      output += chunk;
    });
    child.on('close', () => {
      try {
        const report = JSON.parse(output.slice(output.indexOf('{')));
        const tests = report.testResults.flatMap((/** @type {any} */ file) => file.assertionResults);
        const ran = tests.filter((/** @type {any} */ each) => ['passed', 'failed'].includes(each.status));
        resolve(
          ran.map((/** @type {any} */ each) => ({ name: each.fullName, passed: each.status === 'passed' })),
        );
      } catch {
        resolve([]);
      }
    });
  });

/** Why a test proves nothing: it must be one, and pass as things are. @param {readonly Ran[]} ran @param {Defence} defence */
const objectionTo = (ran, { named }) => {
  const meant = ran.filter(({ name }) => name.includes(named));
  if (meant.length !== 1) return `${meant.length} tests of this name ran`;
  return meant.every(({ passed }) => passed) ? undefined : 'fails also with the defence';
};

/** @param {string} directory @param {Defence} defence */
const check = async (directory, defence) => {
  const { file, text, changed } = withoutDefence(defence);
  writeFileSync(join(directory, file), changed);
  const [after] = await runTests(directory, [defence]);
  writeFileSync(join(directory, file), text);
  if (!after) return 'does not run without the defence';
  return after.passed ? 'passes also without the defence' : undefined;
};

const main = async () => {
  const wanted = process.argv.slice(2);
  const chosen = defences.filter(
    ({ defence, threat, test }) =>
      wanted.length === 0 ||
      wanted.some((part) => defence === part || threat.includes(part) || test.includes(part)),
  );
  const directories = /** @type {const} */ ([copyOfTree(), copyOfTree()]);
  let wrong = 0;
  try {
    const before = await runTests(directories[0], chosen);
    const queue = [...chosen];
    /** @param {string} directory */
    const lane = async (directory) => {
      for (let defence = queue.shift(); defence; defence = queue.shift()) {
        const objection =
          objectionTo(before, defence) ??
          (await check(directory, defence).catch((error) => String(error.message)));
        if (objection !== undefined) wrong += 1;
        console.log(
          `${objection === undefined ? 'holds ' : 'WRONG '} ${defence.threat}: ${objection ?? defence.named}`,
        );
      }
    };
    await Promise.all(directories.map(lane));
  } finally {
    for (const directory of directories) rmSync(directory, { recursive: true, force: true });
  }
  console.log(`${chosen.length - wrong} defences whose test fails without them, ${wrong} wrong`);
  process.exitCode = wrong === 0 ? 0 : 1;
};

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv.includes('--docs')) writeFileSync(page, withTable(readFileSync(page, 'utf8')));
  else await main();
}
