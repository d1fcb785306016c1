/**
 * What dispatchers may run on the agents of this service: `openAgent({ home, actions })`.
 * @type {import('ctrl-exec/agent').Actions}
 */
export const actions = {
  reindex: async ({ args, stdout }) => {
    for (const shard of args) await stdout.write(`${shard} done\n`);
  },
};

/**
 * Reindexes on every agent of a role. Gives the names of those on which it failed.
 * @param {import('ctrl-exec').Dispatcher} fleet
 * @param {string} role
 * @param {string[]} shards
 */
export async function reindex(fleet, role, shards) {
  const agents = await fleet.agents({ role });
  if (agents.isErr()) throw new Error(agents.error.message);
  const hosts = agents.value.map(({ name }) => name);
  const run = await fleet.run({ hosts, script: 'reindex', args: shards });
  if (run.isErr()) throw new Error(run.error.message);
  return run.value.results.filter(({ state }) => state !== 'succeeded').map(({ host }) => host);
}
