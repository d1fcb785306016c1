// Runs one script on all hosts with some tags and prints what they answered: node disk-report.mjs HOME SCRIPT key=value...
import { openDispatcher } from 'ctrl-exec';

const [home = '', script = '', ...pairs] = process.argv.slice(2);
const tags = Object.fromEntries(pairs.map((pair) => pair.split('=', 2)));

const fleet = await openDispatcher({ home });
const outcome = await fleet
  .agents(tags)
  .andThen((agents) => fleet.run({ hosts: agents.map(({ name }) => name), script, timeout: 60 }));

outcome.match(
  ({ results }) => {
    for (const { host, exit, stdout, stderr, error } of results)
      console.log(`${host}\t${exit === 0 ? stdout.trim() : `FAILED ${exit}: ${error ?? stderr.trim()}`}`);
    process.exitCode = results.every(({ exit }) => exit === 0) ? 0 : 1;
  },
  (failure) => {
    // One line for people; failure.code is for programs.
    console.error(failure.message);
    process.exitCode = failure.code === 'config_invalid' ? 78 : 1;
  },
);
await fleet.close();
