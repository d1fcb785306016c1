// Writes docs/library.md: every error, port and method of the library, from the types and their docstrings.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const root = fileURLToPath(new URL('..', import.meta.url));

/** @param {string} path */
const parse = (path) =>
  ts.createSourceFile(path, readFileSync(`${root}/${path}`, 'utf8'), ts.ScriptTarget.Latest, true);

/** @param {string} path @param {string} name @returns {ts.InterfaceDeclaration} */
function interfaceOf(path, name) {
  const found = parse(path).statements.find(
    (each) => ts.isInterfaceDeclaration(each) && each.name.text === name,
  );
  if (!found || !ts.isInterfaceDeclaration(found)) throw new Error(`${path}: no interface ${name}`);
  return found;
}

/** @param {ts.Node} node */
const oneLine = (node) =>
  node
    .getText()
    .replaceAll(/\/\*\*.*?\*\//gs, '')
    .replaceAll(/\s+/g, ' ');

/** @param {ts.Node} node @param {string} where */
function docOf(node, where) {
  const [doc] = ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc);
  const text = (ts.getTextOfJSDocComment(doc?.comment) ?? '').replaceAll(/\s+/g, ' ').trim();
  if (!text) throw new Error(`${where}: a docstring is expected`);
  return text;
}

/** @param {string[]} cells */
const row = (cells) => `| ${cells.map((each) => each.replaceAll('|', '\\|')).join(' | ')} |`;

/** HTTP statuses by code, as `errorAnswers` has them. */
function statuses() {
  /** @type {Map<string, string>} */
  const found = new Map();
  /** @param {ts.Node} node */
  const visit = (node) => {
    if (ts.isVariableDeclaration(node) && node.name.getText() === 'errorAnswers' && node.initializer)
      ts.forEachChild(node.initializer, (each) => {
        if (!ts.isPropertyAssignment(each)) return;
        // What is made by a function is of the dispatcher's own files.
        const status = /^\{\s*status: (\d+)/.exec(each.initializer.getText())?.[1] ?? '500';
        found.set(each.name.getText(), status);
      });
    ts.forEachChild(node, visit);
  };
  visit(parse('src/apps/api/answers/refusals.ts'));
  return found;
}

/** @param {ts.TypeElement} member */
function fieldsOf(member) {
  if (!ts.isPropertySignature(member) || !member.type) throw new Error('a property with a type is expected');
  if (!ts.isTypeLiteralNode(member.type)) return '';
  return member.type.members
    .filter(ts.isPropertySignature)
    .map(
      (each) =>
        `\`${each.name.getText()}${each.questionToken ? '?' : ''}\` ${each.type ? oneLine(each.type) : ''}`,
    )
    .join(', ');
}

/** Exit status of a command that fails by a code, as `report` and `refuse` of the commands give it; of all others 1. */
const exits = new Map([
  ['invalid_argument', '64'],
  ['target_unknown', '64'],
]);

function errors() {
  const http = statuses();
  const rows = interfaceOf('src/domain/core/errors.ts', 'ErrorFields').members.map((member) => {
    const code = member.name?.getText() ?? '';
    const status = http.get(code) ?? '';
    return row([`\`${code}\``, fieldsOf(member), docOf(member, code), status, exits.get(code) ?? '1']);
  });
  return ['| Code | Fields | Meaning | HTTP | Exit |', '| --- | --- | --- | --- | --- |', ...rows];
}

function clientErrors() {
  const rows = interfaceOf('src/apps/library/client/error.ts', 'ClientErrorFields').members.map((member) => {
    const code = member.name?.getText() ?? '';
    return row([`\`${code}\``, fieldsOf(member).replaceAll('readonly ', ''), docOf(member, code)]);
  });
  return ['| Code | Fields | Meaning |', '| --- | --- | --- |', ...rows];
}

/** @param {string} path @param {string} name */
function methods(path, name) {
  const rows = interfaceOf(path, name)
    .members.filter(ts.isMethodSignature)
    .map((member) => {
      const given = member.parameters.map(oneLine).join(', ');
      const gives = (member.type ? oneLine(member.type) : 'void').replace(/^Answer<(.*)>$/, '$1');
      return row([
        `\`${member.name.getText()}(${given})\``,
        `\`${gives}\``,
        docOf(member, member.name.getText()),
      ]);
    });
  return ['| Method | Gives | What it does |', '| --- | --- | --- |', ...rows];
}

const list = 'src/sdk/core/ports.ts';

/** The file of each port in src/ports, by the name of its type: of the imports of the list. */
function portFiles() {
  /** @type {Map<string, string>} */
  const files = new Map();
  for (const statement of parse(list).statements) {
    if (!ts.isImportDeclaration(statement) || !ts.isStringLiteral(statement.moduleSpecifier)) continue;
    const file = /\/ports\/([\w-]+)\.js$/.exec(statement.moduleSpecifier.text)?.[1];
    const names = statement.importClause?.namedBindings;
    if (file && names && ts.isNamedImports(names))
      for (const each of names.elements) files.set(each.name.text, file);
  }
  return files;
}

/** @param {string} name */
function portsOf(name) {
  const files = portFiles();
  return interfaceOf(list, name).members.flatMap((member) => {
    const type = 'type' in member && member.type ? oneLine(/** @type {ts.Node} */ (member.type)) : '';
    const declared = type.replace(/^ResultAsync<(\w+),.*$/, '$1').replace(/<.*$/, '');
    const file = files.get(declared);
    return file === undefined
      ? []
      : [{ name: member.name?.getText() ?? '', declared, file, made: ts.isMethodSignature(member) }];
  });
}

/** Every adapter: its folder, and its text. */
const adapterFiles = () =>
  readdirSync(`${root}/src/adapters`, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => ({
      folder: name.split('/')[0],
      text: readFileSync(`${root}/src/adapters/${name}`, 'utf8'),
    }));

/** The folders with a function that gives this type. @param {ReturnType<typeof adapterFiles>} files @param {string} type */
function adapters(files, type) {
  const gives = new RegExp(`\\): ${type}(<\\w+>)?( & .*)? (=>|\\{$)|interface \\w+ extends ${type} `, 'm');
  return [...new Set(files.filter(({ text }) => gives.test(text)).map(({ folder }) => folder))].sort();
}

/** What a port promises, in its first sentence. @param {string} file @param {string} name */
function promise(file, name) {
  const declared = interfaceOf(file, name);
  const [first = ''] = /^.*?[.:;](?= |$)|^.*$/.exec(docOf(declared, name)) ?? [];
  return first.replace(/[:;]$/, '.').replace(/ \(wire-protocol [^)]*\)/, '');
}

function ports() {
  const sides = ['DispatcherPorts', 'AgentPorts', 'PullPorts'].map(portsOf);
  const all = new Map(sides.flat().map((each) => [each.name, each]));
  const files = adapterFiles();
  const published = readFileSync(`${root}/src/apps/library/testing/contracts.ts`, 'utf8');
  const rows = [...all.values()]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, declared, file }) =>
      row([
        `\`${name}\``,
        `\`${declared}\``,
        ...sides.map((side) => {
          const found = side.find((each) => each.name === name);
          return found === undefined ? '' : found.made ? 'made' : 'yes';
        }),
        promise(`src/ports/${file}.ts`, declared),
        adapters(files, declared).join(', '),
        published.includes(`/${file}.contract.js`) ? 'yes' : '',
      ]),
    );
  return [
    '| Port | Type | Dispatcher | Agent | Pull agent | What it is | Adapters | Suite |',
    '| --- | --- | --- | --- | --- | --- | --- | --- |',
    ...rows,
  ];
}

/** The whole page. */
export const libraryPage = () =>
  [
    '# The library: errors, ports, methods',
    '',
    'Made by `npm run docs:tables` from the types and their docstrings. [Embedding](embedding.md) is the guide.',
    '',
    '## Errors',
    '',
    'The `code` of a `CtrlExecError`. HTTP: the status of an answer of the API whose request failed by it. Exit: the status of a command',
    'that failed by it; `ctrl-exec-agent serve`, `pull` and `ctrl-exec-api` end with 78 where they cannot begin as they are configured.',
    '',
    ...errors(),
    '',
    '## Errors of the client',
    '',
    'The `code` of a `ClientError` of `ctrl-exec/client`.',
    '',
    ...clientErrors(),
    '',
    '## Ports',
    '',
    'The list is `src/sdk/core/ports.ts`. Made: a function of the settings makes it. Adapters: the folders in `src/adapters`',
    'that have one. Suite: `ctrl-exec/testing/contracts` has it.',
    '',
    ...ports(),
    '',
    '## Methods of a dispatcher',
    '',
    'Methods give a `ResultAsync` of what stands here, or a `CtrlExecError`, unless another type is written.',
    '',
    ...methods('src/sdk/dispatcher/dispatcher.ts', 'Dispatcher'),
    '',
    '## Methods of an agent',
    '',
    ...methods('src/sdk/agent/agent.ts', 'Agent'),
    '',
    '## Methods of a pull agent',
    '',
    ...methods('src/sdk/deploy/pull-agent.ts', 'PullAgent'),
    '',
    '## Methods of the client',
    '',
    'The same with a `ClientError`.',
    '',
    ...methods('src/apps/library/client.ts', 'ApiClient'),
    '',
  ].join('\n');

if (process.argv[1] === fileURLToPath(import.meta.url))
  writeFileSync(`${root}/docs/library.md`, libraryPage());
