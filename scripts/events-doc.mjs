// Writes docs/events.md from src/domain/core/event.ts: what happened, what to do. Levels are read off where events are emitted.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const root = fileURLToPath(new URL('..', import.meta.url));

/**
 * @typedef {{ name: string, type: string, optional: boolean }} EventField
 * @typedef {{ action: string, fields: EventField[], text: string, remarks: string }} CatalogueEvent
 * @typedef {Map<string, Set<string>>} Levels
 */

/** @param {string} path */
const parse = (path) =>
  ts.createSourceFile(path, readFileSync(`${root}/${path}`, 'utf8'), ts.ScriptTarget.Latest, true);

/** @param {ts.Node} node @param {(node: ts.Node) => void} visit */
const walk = (node, visit) => {
  visit(node);
  ts.forEachChild(node, (child) => walk(child, visit));
};

/** @param {ts.PropertyName} name */
const nameOf = (name) =>
  ts.isIdentifier(name) || ts.isStringLiteral(name) ? name.text : fail(name, 'a plain name is expected');

/** @param {ts.Node} node @param {string} why @returns {never} */
const fail = (node, why) => {
  const file = node.getSourceFile();
  const { line } = file.getLineAndCharacterOfPosition(node.getStart());
  throw new Error(`${file.fileName}:${line + 1}: ${why}`);
};

/** @param {ts.TypeElement} member @returns {ts.PropertySignature & { type: ts.TypeNode }} */
const typed = (member) =>
  ts.isPropertySignature(member) && member.type
    ? /** @type {any} */ (member)
    : fail(member, 'a property with a type is expected');

/** @param {string | ts.NodeArray<ts.JSDocComment> | undefined} comment */
const oneLine = (comment) => (ts.getTextOfJSDocComment(comment) ?? '').replaceAll(/\s+/g, ' ').trim();

/** @param {ts.TypeElement} member @returns {EventField} */
const field = (member) => {
  const { type, name, questionToken } = typed(member);
  const kinds = ts.isUnionTypeNode(type) ? type.types.map((each) => each.getText()) : [type.getText()];
  const given = kinds.filter((kind) => kind !== 'undefined');
  return {
    name: nameOf(name),
    type: given.join(' or '),
    optional: questionToken !== undefined || given.length < kinds.length,
  };
};

/** @param {ts.TypeElement} member @returns {CatalogueEvent} */
const event = (member) => {
  const { type, name } = typed(member);
  if (!ts.isTypeLiteralNode(type)) return fail(member, 'the fields are expected in place');
  const [doc] = ts.getJSDocCommentsAndTags(member).filter(ts.isJSDoc);
  const remarks = doc?.tags?.find((tag) => tag.tagName.text === 'remarks');
  const said = { text: oneLine(doc?.comment), remarks: oneLine(remarks?.comment) };
  if (!said.text || !said.remarks) fail(member, 'what happened and @remarks on what to do are expected');
  return { action: nameOf(name), fields: type.members.map(field), ...said };
};

/** The events of each interface of the catalogue, as they stand there. */
export const readCatalogue = () => {
  /** @type {Map<string, CatalogueEvent[]>} */
  const catalogue = new Map();
  for (const statement of parse('src/domain/core/event.ts').statements)
    if (ts.isInterfaceDeclaration(statement) && statement.name.text.endsWith('Events'))
      catalogue.set(statement.name.text, statement.members.map(event));
  return catalogue;
};

/** @param {ts.ObjectLiteralExpression} literal @param {string} name */
const property = (literal, name) =>
  literal.properties
    .filter(ts.isPropertyAssignment)
    .find((each) => ts.isIdentifier(each.name) && each.name.text === name)?.initializer;

/** @param {ts.ObjectLiteralExpression} literal @param {string} name */
const has = (literal, name) =>
  literal.properties.some((each) => each.name && ts.isIdentifier(each.name) && each.name.text === name);

const levelNames = ['info', 'warning', 'error'];

/** @param {string} path */
const mentionsAction = (path) => readFileSync(`${root}/src/${path}`, 'utf8').includes("action: '");

/** The levels of each event: of every object literal in src that has its name as `action`. */
export const readLevels = () => {
  /** @type {Levels} */
  const levels = new Map();
  const files = readdirSync(`${root}/src`, { recursive: true, encoding: 'utf8' });
  for (const path of files.filter((name) => name.endsWith('.ts') && mentionsAction(name)).sort())
    walk(parse(`src/${path}`), (node) => {
      if (!ts.isObjectLiteralExpression(node)) return;
      const action = property(node, 'action');
      if (!action || !ts.isStringLiteral(action) || !has(node, 'fields')) return;
      const found = levels.get(action.text) ?? new Set();
      levels.set(action.text, found);
      const level = property(node, 'level');
      if (level) walk(level, (part) => void (isLevel(part) && found.add(part.text)));
      else found.add('info');
    });
  return levels;
};

/** @param {ts.Node} node @returns {node is ts.StringLiteral} */
const isLevel = (node) => ts.isStringLiteral(node) && levelNames.includes(node.text);

/** @param {string} text */
const cell = (text) => text.replaceAll('|', '\\|');

/** @param {EventField} field */
const fieldCell = ({ name, type, optional }) => `\`${name}\`${optional ? '?' : ''} ${type}`;

/** @param {readonly CatalogueEvent[]} events @param {Levels} levels */
const table = (events, levels) => [
  '| Event | Level | Fields | What happened | What to do |',
  '| --- | --- | --- | --- | --- |',
  ...events.map(({ action, fields, text, remarks }) => {
    const level = levelNames.filter((name) => levels.get(action)?.has(name)).join(', ');
    const cells = [`\`${action}\``, level, fields.map(fieldCell).join(', '), text, remarks];
    return `| ${cells.map(cell).join(' | ')} |`;
  }),
];

const sections = [
  {
    title: 'Dispatcher',
    name: 'DispatcherEvents',
    about: 'Of `ctrl-exec`, `ctrl-exec-api`, and of a program that uses the library.',
  },
  { title: 'HTTP API', name: 'ApiEvents', about: 'Of `ctrl-exec-api`, beside those of a dispatcher.' },
  { title: 'Agent', name: 'AgentEvents', about: 'Of `ctrl-exec-agent`.' },
  { title: 'Pull agent', name: 'PullEvents', about: 'Of `ctrl-exec-agent pull`.' },
  { title: 'Both', name: 'SharedEvents', about: 'Of either side.' },
];

const introduction = `# Events

<!-- Made by \`npm run docs:events\` from src/domain/core/event.ts: change that. -->

What dispatchers and agents write to their logs, and what to do about each line.

## Lines

One event is one line: \`ACTION=\` and the name of the event, then its fields as \`KEY=value\`, the keys in capitals and in
alphabetical order. A field without a value is left out.

\`\`\`
ACTION=run HOSTS=web-01,web-02 REQID=5a0c1d3e9b7f2468 SCRIPT=deploy USERNAME=alice
ACTION=run-start DISPATCHER=control IP=192.0.2.1 REQID=5a0c1d3e9b7f2468 SCRIPT=deploy USERNAME=alice
ACTION=run-result ERROR="no answer from web-02:7443" EXIT=-1 HOST=web-02 REQID=5a0c1d3e9b7f2468 RTT=10004 SCRIPT=deploy
\`\`\`

Values come from other hosts, so no value can forge a line or a field. A value stands as it is, or in double quotes where it
is empty or holds white space or anything that is escaped: \`\\"\`, \`\\\\\`, \`\\n\`, \`\\r\`, \`\\t\`, and \`\\u{hex}\` for every other control,
format or separator character. A value of more than 1,000 characters is cut, and \`\\+N\` at its end says how many are missing.

\`REQID\` is made by the dispatcher for each run, ping and discovery, and stands in the log of every agent that a run or a ping
reached: search for it on both hosts. \`REQUEST\` does the same for one
pairing (in \`denied\` it is what was asked for). \`API_REQUEST\` is the \`X-Request-Id\` of an answer of the HTTP API: every line that comes
of the same request has it, whatever event it is. \`RTT\` and \`MS\` are milliseconds, serials and
fingerprints lower-case hex. Tokens, keys, arguments of scripts and what scripts print are never logged; a reason or an error may hold
words of the other host.

## Where they go

The key \`event_log\` of \`ctrl-exec.conf\` and \`agent.conf\` says it. A restart moves the log, a reload does not.

| \`event_log\` | Events go |
| --- | --- |
| \`auto\` (default) | from \`ctrl-exec-agent serve\` and \`pull\`, \`ctrl-exec-api\`, and from \`ctrl-exec pairing-mode\` without a terminal, to standard error; from any other command to syslog where \`/dev/log\` exists, else nowhere |
| \`syslog\` | to syslog, facility \`daemon\`, tag \`ctrl-exec\`, \`ctrl-exec-agent\` or \`ctrl-exec-api\`, through \`logger\` (util-linux) |
| \`syslog:/path\` | the same, to the Unix datagram socket at that path |
| \`stderr\` | to standard error |
| \`json\` | to standard error, a JSON object a line |
| \`json:/path\` | the same, appended to that file; a new one gets mode 0640. What is moved away is left: the next line opens the file anew, see [operators.md](operators.md#logs) |
| \`none\` | nowhere |

Levels are \`info\`, \`warning\` and \`error\`: in syslog the priorities \`info\`, \`warning\` and \`err\`. On a standard error that goes to
the journal each line has \`<6>\`, \`<4>\` or \`<3>\` in front, which the journal takes off as its priority. Times are those of syslog and
the journal; in JSON there is \`time\`.

A JSON line has \`time\` (ISO 8601, UTC), \`level\` and \`action\`, then the fields under their names below:

\`\`\`
{"time":"2030-01-02T03:04:05.678Z","level":"info","action":"ping-answered","reqid":"5a0c1d3e9b7f2468","dispatcher":"control","ip":"192.0.2.1"}
\`\`\`

If syslog or the file cannot be reached, lines go to standard error, after an \`event-log-failed\`; syslog is tried again after 30
seconds. Nothing ever waits for syslog: lines that find more than 1 MiB of others waiting are dropped, and counted in an
\`events-dropped\`. If \`logger\` is killed, lines of its last second are given to the next one, so a line may come twice.

Fields with a \`?\` may be missing.
`;

/** The whole page. */
export const eventsPage = () => {
  const catalogue = readCatalogue();
  const levels = readLevels();
  const parts = sections.flatMap(({ title, name, about }) => [
    `## ${title}`,
    '',
    about,
    '',
    ...table(catalogue.get(name) ?? [], levels),
    '',
  ]);
  return `${introduction}\n${parts.join('\n')}`;
};

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(`${root}/docs/events.md`, eventsPage());
