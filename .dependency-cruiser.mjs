// The arrows between folders: apps -> adapters, sdk -> ports -> domain. Each rule says why it exists.

/** @param {string} name @param {string} comment @param {object} from @param {object} to */
const forbid = (name, comment, from, to) => ({ name, comment, severity: 'error', from, to });

/** What cannot be found, or is not in package.json. */
const undeclared = ['npm-no-pkg', 'npm-unknown', 'unknown'];
const npm = ['npm', 'npm-dev', 'npm-optional', 'npm-peer', ...undeclared];
const npmOrNode = [...npm, 'core'];

/** Which npm packages an adapter folder may import; a folder that is not listed may import none. */
const librariesOfAdapter = {
  x509: ['@peculiar/x509', 'reflect-metadata'],
  undici: ['undici'],
  sql: ['kysely', 'libsql'],
};

/**
 * Rooms: what a folder is about. For each room of a folder, the rooms that it may import besides itself.
 * @type {Record<string, Record<string, readonly string[]>>}
 */
const rooms = {
  'src/domain': {
    core: [],
    protocol: ['core'],
    trust: ['core', 'protocol'],
    pairing: ['core', 'protocol', 'trust'],
    runs: ['core', 'protocol', 'trust'],
    deploy: ['core', 'protocol', 'trust'],
    settings: ['core', 'protocol', 'trust', 'pairing', 'runs', 'deploy'],
    legacy: ['core', 'protocol', 'trust', 'pairing', 'runs', 'deploy', 'settings'],
  },
  'src/sdk': {
    core: [],
    protocol: ['core'],
    dispatcher: ['core', 'protocol'],
    agent: ['core', 'protocol'],
    deploy: ['core', 'protocol'],
  },
  'src/sdk/dispatcher': {
    trust: [],
    fleet: ['trust'],
    runs: ['trust', 'fleet'],
    maintenance: ['trust', 'runs'],
    pairing: ['trust'],
    migrate: ['trust', 'fleet', 'runs', 'pairing'],
  },
  'src/sdk/agent': {
    trust: [],
    state: ['trust'],
    runs: ['trust', 'state'],
    pairing: ['trust'],
    migrate: ['trust', 'state', 'runs', 'pairing'],
  },
  'src/adapters/sql': { shared: [], sqlite: ['shared'] },
};

/** One rule a room, for those that may not import every other room of their folder. */
const closedRooms = Object.entries(rooms).flatMap(([folder, below]) =>
  Object.entries(below).flatMap(([room, open]) => {
    const closed = Object.keys(below).filter((other) => other !== room && !open.includes(other));
    if (closed.length === 0) return [];
    return forbid(
      `room-${folder.replace('src/', '').replaceAll('/', '-')}-${room}`,
      `${folder}/${room} stands on ${open.join(', ') || 'no other room'}. What it needs of another room belongs further down.`,
      { path: `^${folder}/${room}/` },
      { path: `^${folder}/(${closed.join('|')})/` },
    );
  }),
);

const allowed = (/** @type {string[]} */ names) => `node_modules/(${names.join('|')})/`;

export default {
  forbidden: [
    forbid(
      'no-cycles',
      'A cycle means that two files are one concern, or that an arrow points outwards.',
      {},
      { circular: true },
    ),
    ...closedRooms,
    forbid(
      'rooms-stand-on-the-context',
      'A room of dispatcher or agent imports of the files beside the rooms only context.ts: the others put rooms together.',
      { path: '^src/sdk/(dispatcher|agent)/[^/]+/' },
      { path: '^src/sdk/$1/(?!context\\.ts$)[^/]+\\.ts$' },
    ),
    forbid('no-orphans', 'A file that nothing imports is dead code.', { orphan: true, path: '^src/' }, {}),
    forbid(
      'domain-imports-domain-only',
      'The domain decides; it must run without Node, a clock or a network, so it imports only itself.',
      { path: '^src/domain/' },
      { path: '^src/(ports|sdk|adapters|apps)/' },
    ),
    forbid(
      'domain-is-pure',
      'No I/O and no libraries in the domain but computation-only ones (neverthrow, structured-headers, ipaddr.js).',
      { path: '^src/domain/' },
      { dependencyTypes: npmOrNode, pathNot: allowed(['neverthrow', 'structured-headers', 'ipaddr\\.js']) },
    ),
    forbid(
      'ports-import-domain-only',
      'A port is a contract in terms of the domain; it knows nobody who fulfils or uses it.',
      { path: '^src/ports/' },
      { path: '^src/(sdk|adapters|apps)/' },
    ),
    forbid(
      'ports-are-types',
      'A port names no technology; neverthrow appears in its types only.',
      { path: '^src/ports/' },
      { dependencyTypes: npmOrNode, pathNot: allowed(['neverthrow']) },
    ),
    forbid(
      'ports-hold-no-code',
      'neverthrow is imported by ports for types only: a port with behaviour would be a base class.',
      { path: '^src/ports/' },
      { path: allowed(['neverthrow']), dependencyTypesNot: ['type-only'] },
    ),
    forbid(
      'sdk-imports-ports-and-domain',
      'A use case takes its adapters as arguments; importing one would make it untestable without that technology.',
      { path: '^src/sdk/' },
      { path: '^src/(adapters|apps)/' },
    ),
    forbid(
      'sdk-is-technology-free',
      'The use cases run over ports; a library or node: import belongs in an adapter.',
      { path: '^src/sdk/' },
      { dependencyTypes: npmOrNode, pathNot: allowed(['neverthrow']) },
    ),
    forbid(
      'adapters-import-ports-and-domain',
      'An adapter fulfils a port; it never calls a use case or an app.',
      { path: '^src/adapters/' },
      { path: '^src/(sdk|apps)/' },
    ),
    forbid(
      'adapters-do-not-know-each-other',
      'Two adapters that need each other are one, or the need is a port.',
      { path: '^src/adapters/([^/]+)/' },
      { path: '^src/adapters/', pathNot: '^src/adapters/($1|shared)/' },
    ),
    forbid(
      'shared-adapters-fulfil-no-port',
      'adapters/shared is what several adapters need of the operating system (who a process is, how a file is made durable): no port, no decisions.',
      { path: '^src/adapters/shared/' },
      { path: '^src/(ports|domain/(?!core/))' },
    ),
    ...Object.entries(librariesOfAdapter).map(([folder, names]) =>
      forbid(
        `adapter-${folder}-libraries`,
        `adapters/${folder} wraps ${names.join(', ')} and no other library.`,
        { path: `^src/adapters/${folder}/` },
        {
          dependencyTypes: npm,
          pathNot: allowed(['neverthrow', ...names]),
        },
      ),
    ),
    forbid(
      'adapter-libraries',
      'An adapter folder imports node: and its own library only; name the library in librariesOfAdapter.',
      { path: `^src/adapters/(?!(${Object.keys(librariesOfAdapter).join('|')})/)` },
      { dependencyTypes: npm, pathNot: allowed(['neverthrow']) },
    ),
    forbid(
      'apps-do-not-know-each-other',
      'The CLI, the agent and the API are three doors into the library, not into each other.',
      { path: '^src/apps/(cli|agent|api)/' },
      { path: '^src/apps/(cli|agent|api)/', pathNot: '^src/apps/$1/' },
    ),
    forbid(
      'tsyringe-in-composition-only',
      'Dependency injection is wiring; it is known in exactly one file.',
      { path: '^src/', pathNot: '^src/apps/composition\\.ts$' },
      { path: allowed(['tsyringe']) },
    ),
    forbid(
      'library-without-command-libraries',
      "What import 'ctrl-exec' loads, however indirectly, must not drag in argument parsing or dependency injection.",
      { path: '^src/apps/(library/(?!express\\.ts|testing/contracts\\.ts|client)|(pull-)?defaults\\.ts)' },
      {
        reachable: true,
        path: `${allowed(['tsyringe', 'commander', 'express'])}|^src/apps/(cli|agent|api)/|^src/apps/composition\\.ts$`,
      },
    ),
    forbid(
      'client-knows-the-api-by-its-types',
      'Whoever calls the API over HTTP loads neither express nor zod nor a dispatcher: what it takes and answers is known to the compiler alone.',
      { path: '^src/apps/library/client' },
      {
        path: '^src/',
        pathNot: '^src/(apps/library/client|domain/core/(border|closest|names|thrown)\\.ts)',
        dependencyTypesNot: ['type-only'],
      },
    ),
    forbid(
      'libraries-of-the-client',
      'undici sends, neverthrow answers; zod appears in types only.',
      { path: '^src/apps/library/client' },
      { dependencyTypes: npm, dependencyTypesNot: ['type-only'], pathNot: allowed(['undici', 'neverthrow']) },
    ),
    forbid(
      'only-composition-wires-adapters',
      'Commands parse, call the sdk and render; which adapter stands behind a port is decided in defaults.ts and pull-defaults.ts, where events go in event-log.ts; doubles are published by library/testing.',
      { path: '^src/apps/', pathNot: '^src/apps/((defaults|pull-defaults|event-log)\\.ts$|library/testing)' },
      { path: '^src/adapters/' },
    ),
    forbid(
      'src-does-not-import-dev-dependencies',
      'A development dependency is not there when the package is installed.',
      { path: '^src/' },
      { dependencyTypes: ['npm-dev', ...undeclared] },
    ),
    forbid(
      'tests-stay-outside',
      'The product does not import its tests, scripts or benchmarks; one entry publishes the contract suites.',
      { path: '^src/', pathNot: '^src/apps/library/testing/contracts\\.ts$' },
      { path: '^(tests|scripts|bench|examples)/' },
    ),
    forbid(
      'contracts-are-suites-only',
      'ctrl-exec/testing/contracts is a list of contract suites; whatever else a test needs is not for users.',
      { path: '^src/apps/library/testing/contracts\\.ts$' },
      { pathNot: '^tests/contract/[^/]+\\.contract\\.ts$' },
    ),
    forbid(
      'testing-is-for-tests',
      'The product does not stand on its doubles; the suites need vitest, which is not there where the product runs.',
      { path: '^src/', pathNot: '^src/apps/library/testing' },
      { path: '^src/apps/library/testing' },
    ),
    forbid(
      'published-suites-know-the-contract-only',
      'A published suite is bound to adapters that we have not written: it knows the domain, the ports and its samples.',
      { path: '^tests/' },
      { path: '^(src/(sdk|adapters|apps)|tests/(?!contract/)|scripts|bench|examples)/' },
    ),
    forbid(
      'libraries-of-published-suites',
      'Whoever runs the suites has the dependencies of the package, vitest and fast-check, and no other library.',
      { path: '^tests/' },
      {
        dependencyTypes: npm,
        pathNot: allowed(['vitest', 'fast-check', 'neverthrow', '@peculiar/x509', 'reflect-metadata']),
      },
    ),
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'types', 'default'],
    },
  },
};
