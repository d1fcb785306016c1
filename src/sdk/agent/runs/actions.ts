import { okAsync } from 'neverthrow';
import { isActionPath } from '../../../domain/runs/action.js';
import type { AgentSettings } from '../../../domain/settings/agent.js';
import type { Jobs } from '../../../ports/jobs.js';
import type { AgentContext } from '../context.js';

/** What executes a program of this agent: a script, or an action. */
export const runnerOf = ({ actions, runner }: AgentContext, path: string): AgentContext['runner'] =>
  isActionPath(path) ? actions.runner : runner;

/** Those of the actions, where there are any. */
export const actionJobsOf = ({ actions }: AgentContext, settings: AgentSettings): Jobs | undefined =>
  Object.keys(actions.functions).length > 0 ? actions.jobs(settings) : undefined;

/** Jobs that are scripts, which outlive the agent, and jobs that are actions, which do not; a key is looked for in both. */
export const jobsWithActions = (actions: Jobs, scripts: Jobs): Jobs => ({
  start: (job) => {
    const [own, other] = isActionPath(job.program.path) ? [actions, scripts] : [scripts, actions];
    return other
      .find(job)
      .andThen((known) => (known ? okAsync({ kind: 'known' as const, job: known }) : own.start(job)));
  },
  find: (key) => actions.find(key).andThen((job) => (job ? okAsync(job) : scripts.find(key))),
  running: () =>
    actions
      .running()
      .andThen((some) =>
        scripts
          .running()
          .map((others) => [...some, ...others].sort((one, other) => one.startedAt - other.startedAt)),
      ),
  wait: (key, signal) => actions.find(key).andThen((job) => (job ? actions : scripts).wait(key, signal)),
  cancel: (key) =>
    actions.cancel(key).andThen((told) => (told === 'unknown' ? scripts.cancel(key) : okAsync(told))),
  purge: (before) =>
    actions.purge(before).andThen((count) => scripts.purge(before).map((others) => count + others)),
  close: async () => {
    await Promise.all([actions.close(), scripts.close()]);
  },
});
