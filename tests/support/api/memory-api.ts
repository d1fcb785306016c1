import { memoryAuthHook } from '../../../src/adapters/memory/auth-hook.js';
import type { ApiRouterOptions } from '../../../src/apps/api/router.js';
import type { HookContext, HookOutcome } from '../../../src/domain/runs/auth-hook.js';
import { value } from '../../contract/result.js';
import { dispatcherOver, enrol, withPorts } from '../fleet/memory-agents.js';
import { identifiedFleet } from '../fleet/memory-fleet.js';
import { apiOver } from './api.js';

const yes: HookOutcome = { kind: 'exited', code: 0 };

/** The exit code of a hook that says no in this way. */
export const no = (code: 1 | 2 | 3 = 1): HookOutcome => ({ kind: 'exited', code });

/** The API over HTTP, its dispatcher and agents over memory adapters. `policy.decide` is the hook; by default it says yes. */
export async function memoryApi(
  configuration = '',
  options: Partial<ApiRouterOptions> & { readonly base?: string } = {},
) {
  const { fleet, control } = await identifiedFleet(configuration);
  const policy = { decide: (_asked: HookContext): HookOutcome => yes };
  const hook = memoryAuthHook((asked) => policy.decide(asked));
  const dispatcher = dispatcherOver(withPorts(control, { hook }));
  const api = await apiOver(dispatcher, options);
  return {
    ...api,
    fleet,
    control,
    dispatcher,
    policy,
    asked: hook.asked,
    /** What the hook was asked besides `api`, and is not asked about again. */
    questions: () => hook.asked.splice(0).filter(({ action }) => action !== 'api'),
    async serve(name: string, conf = '') {
      const agent = fleet.agent(name, conf);
      await enrol(control, agent, name);
      value(await agent.agent.serve());
      return agent;
    },
  };
}
