import { err, ok, type Result } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { scriptName } from '../../../domain/core/names.js';
import { actionPath, maxConcurrency } from '../../../domain/runs/action.js';
import type { AllowlistEntry } from '../../../domain/runs/allowlist.js';
import { parseSidecar } from '../../../domain/runs/sidecar.js';
import type { AgentSettings } from '../../../domain/settings/agent.js';
import type { AgentContext } from '../context.js';
import { type Script, schemaOf } from './scripts.js';

/** The actions as entries of the allowlist, which names none of them. */
export function actionScripts(
  { actions, crypto }: Pick<AgentContext, 'actions' | 'crypto'>,
  { scriptsConf }: AgentSettings,
  entries: ReadonlyMap<string, AllowlistEntry>,
): Result<readonly Script[], CtrlExecError<'config_invalid' | 'invalid_argument'>> {
  const scripts: Script[] = [];
  for (const [name, action] of Object.entries(actions.functions)) {
    const named = scriptName(name, 'actions');
    if (named.isErr()) return err(named.error);
    const line = entries.get(name)?.line;
    if (line !== undefined) {
      const reason = `"${name}" is an action of this agent, too: give one of them another name`;
      const about = { file: scriptsConf, line, reason };
      return err(failure('config_invalid', `${scriptsConf}:${line}: ${reason}`, about));
    }
    if (typeof (typeof action === 'function' ? action : action?.run) !== 'function')
      return err(unfit(name, 'is neither a function nor { run, schema, concurrency }'));
    if (typeof action === 'object' && !isConcurrency(action.concurrency))
      return err(unfit(name, `has a concurrency that is no whole number from 1 to ${maxConcurrency}`));
    const described = typeof action === 'function' ? undefined : action.schema;
    const text = described && textOf(described);
    const schema = text === undefined ? ok(undefined) : text.andThen(parseSidecar);
    if (schema.isErr()) return err(unfit(name, `has a schema that is ${schema.error}`));
    scripts.push({
      name,
      path: actionPath(name),
      profile: undefined,
      ...schemaOf(crypto, schema.value),
    });
  }
  return ok(scripts);
}

const isConcurrency = (value: unknown = 1): boolean =>
  typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= maxConcurrency;

const unfit = (name: string, reason: string): CtrlExecError<'invalid_argument'> =>
  failure('invalid_argument', `the action "${name}" ${reason}`, { field: 'actions', reason });

function textOf(schema: Readonly<Record<string, unknown>>): Result<string, string> {
  try {
    return ok(JSON.stringify(schema) ?? '');
  } catch {
    return err('not valid JSON');
  }
}
