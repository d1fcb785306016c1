import { okAsync, type ResultAsync } from 'neverthrow';
import { decodeObject, integer } from '../../domain/core/decode.js';
import type { CtrlExecError } from '../../domain/core/errors.js';
import { parseJsonObject } from '../../domain/core/json.js';
import type { AgentSettings } from '../../domain/settings/agent.js';
import type { AgentContext } from './context.js';

const portFile = ({ stateDir }: AgentSettings): string => `${stateDir}/port.json`;

/** The port that the agent was last served on, or will be, where it is not the configured one. Undefined: nothing is known. */
export const notedPort = (
  { files }: AgentContext,
  settings: AgentSettings,
): ResultAsync<number | undefined, never> =>
  files
    .readText(portFile(settings), 4096)
    .map((content) =>
      parseJsonObject(content ?? '')
        .andThen((object) => decodeObject(object, { port: integer(1, 65_535) }))
        .map(({ port }): number | undefined => port)
        .unwrapOr(undefined),
    )
    .orElse(() => okAsync(undefined));

export const notePort = (
  { files }: AgentContext,
  settings: AgentSettings,
  port: number,
): ResultAsync<void, CtrlExecError<'file_failed'>> =>
  files
    .makeDirectory(settings.stateDir, 0o700)
    .andThen(() => files.replace(portFile(settings), `${JSON.stringify({ port })}\n`, 0o600));

/** The port that a dispatcher is told. 0: one is chosen now, and `serve({ port: 0 })` takes it. */
export function registeredPort(
  context: AgentContext,
  settings: AgentSettings,
  asked: number | undefined,
): ResultAsync<number, CtrlExecError> {
  if (asked !== undefined && asked !== 0) return okAsync(asked);
  return notedPort(context, settings).andThen((noted) => {
    if (noted !== undefined) return okAsync(noted);
    if (asked === undefined) return okAsync(settings.port);
    const [high = 0, low = 0] = context.random.bytes(2);
    const chosen = 49_152 + ((high * 256 + low) % 16_384);
    return notePort(context, settings, chosen).map(() => chosen);
  });
}
