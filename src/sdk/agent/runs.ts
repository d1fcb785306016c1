import { type HttpAnswer, jsonAnswer } from '../../domain/http-message.js';
import type { AgentContext } from './context.js';
import type { CallingDispatcher } from './recognise.js';
import { type Running, runScript } from './run-script.js';
import type { AgentState } from './state.js';

/** The runs of an agent that serves. */
export interface Runs extends Running {
  underWay: number;
}

/** Answers `POST /run`, as long as there are not too many under way. */
export async function runBounded(
  context: AgentContext,
  state: AgentState,
  caller: CallingDispatcher,
  runs: Runs,
  body: Uint8Array,
): Promise<HttpAnswer> {
  const limit = state.settings.maxRuns;
  if (runs.underWay >= limit) {
    context.events.emit({
      action: 'run-refused',
      level: 'warning',
      fields: {
        script: undefined,
        reqid: undefined,
        dispatcher: caller.id,
        ip: caller.address,
        reason: `${limit} runs at a time`,
      },
    });
    return jsonAnswer(503, { error: `busy: ${limit} runs are under way` }, [['retry-after', '5']]);
  }
  runs.underWay += 1;
  try {
    return await runScript(context, state, caller, runs, body);
  } finally {
    runs.underWay -= 1;
  }
}
