// Deploys to all hosts at once and gives up at the first that fails: node rollout.mjs HOME SCRIPT VERSION HOST...
// Exit 0: every host is done. 1: one failed, the others were stopped. 2: nothing was begun. 75: it is running already, try later.
import { openDispatcher } from 'ctrl-exec';

const [home = '', script = '', version = '', ...hosts] = process.argv.slice(2);
const enough = new AbortController();
process.once('SIGINT', () => enough.abort());
process.once('SIGTERM', () => enough.abort());

/** @param {import('ctrl-exec').HostResult} result */
const report = ({ host, exit, rtt, error, stderr }) => {
  const said = exit === 0 ? 'ok' : `exit ${exit}: ${error ?? stderr.trim()}`;
  console.log(`${host}\t${said}\t${rtt}ms`);
};

const fleet = await openDispatcher({ home });
const outcome = await fleet.run({
  hosts,
  script,
  args: [version],
  timeout: 900,
  caller: { username: process.env['CI_USER'] ?? 'ci', token: process.env['CI_TOKEN'] ?? '' },
  signal: enough.signal,
  onResult: (result) => {
    report(result);
    if (result.exit !== 0) enough.abort();
  },
});

if (outcome.isErr()) {
  console.error(outcome.error.message);
  process.exitCode = outcome.error.code === 'locked' ? 75 : 2;
} else {
  const { reqid, results } = outcome.value;
  // To give up is to stop listening; scripts that were under way are ended as well.
  const open = results
    .filter(({ state }) => state === 'running' || state === 'unknown')
    .map(({ host }) => host);
  if (open.length > 0) {
    const cancelled = await fleet.cancel(reqid, { hosts: open });
    if (cancelled.isErr()) console.error(cancelled.error.message);
    else
      for (const { host, status, error } of cancelled.value.results)
        console.log(`${host}\t${error ?? status}`);
  }
  console.log(`run ${reqid}: ${results.filter(({ exit }) => exit === 0).length} of ${results.length} done`);
  process.exitCode = results.every(({ exit }) => exit === 0) ? 0 : 1;
}
await fleet.close();
