// A script that uses the library: the same rounds as the command line's worker, in one process that stays open.
// Arguments: the library's file, the dispatcher's home, the agent that is its own, all that serve, the one that others
// edit at the same time (here: its host name), the seconds to go on.
const [library = '', home = '', own = '', all = '', shared = '', seconds = ''] = process.argv.slice(2);
const { openDispatcher } = await import(library);

const counts = { edits: 0, 'shared edits': 0, runs: 0, pings: 0, discoveries: 0, lists: 0 };
/** @type {string[]} */
const problems = [];
const dispatcher = await openDispatcher({ home });
const until = performance.now() + Number(seconds) * 1000;

/**
 * @param {keyof typeof counts} what
 * @param {any} answer
 */
const done = async (what, answer) => {
  const outcome = await answer;
  if (outcome.isErr()) problems.push(`${what}: ${outcome.error.code}: ${outcome.error.message}`);
  else counts[what] += 1;
  return outcome.isOk() ? outcome.value : undefined;
};
/** @param {readonly { host: string, error?: string }[]} [results] */
const complain = (results = []) => {
  for (const { host, error } of results) if (error !== undefined) problems.push(`${host}: ${error}`);
};

for (let round = 1; round === 1 || performance.now() < until; round += 1) {
  const host = `${own}-${round}.example`;
  await done('edits', dispatcher.editAgent(own, { host }));
  const sharedHost = `${shared}-${round}.example`;
  await done('shared edits', dispatcher.editAgent(shared, { host: sharedHost }));
  const run = await done('runs', dispatcher.run({ hosts: [own], script: 'count' }));
  complain(run?.results);
  problems.push(...(run?.warnings ?? []));
  complain((await done('discoveries', dispatcher.discover({ hosts: all.split(',') })))?.hosts);
  /** @type {{ name: string, endpoint: { host: string }, tags: { role?: string } }[]} */
  const listed = (await done('lists', dispatcher.agents())) ?? [];
  const found = listed.find(({ name }) => name === shared)?.endpoint.host;
  if (found !== sharedHost) problems.push(`${sharedHost} was lost: ${found}`);
  const record = listed.find(({ name }) => name === own);
  if (record?.endpoint.host !== host) problems.push(`${host} was lost: ${record?.endpoint.host}`);
  if (record?.tags.role !== own) problems.push(`round ${round}: the tags were lost`);
  complain((await done('pings', dispatcher.ping({ hosts: [own] })))?.results);
}
await dispatcher.close();
console.log(JSON.stringify({ counts, problems }));
