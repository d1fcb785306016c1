import { okAsync, type ResultAsync } from 'neverthrow';
import { decodeObject, integer } from '../../domain/core/decode.js';
import type { CtrlExecError } from '../../domain/core/errors.js';
import { parseJsonObject } from '../../domain/core/json.js';
import type { AgentSettings } from '../../domain/settings/agent.js';
import type { AgentContext } from './context.js';

const portFile = ({ stateDir }: AgentSettings): string => `${stateDir}/port.json`;

const isPort = integer(1, 65_535);

/**
 * The port that dispatchers know, or will: the one that was registered or served on last. Undefined: none is known, or the
 * configured port is another one since.
 */
export const notedPort = (
  { files }: Pick<AgentContext, 'files'>,
  settings: AgentSettings,
): ResultAsync<number | undefined, never> =>
  files
    .readText(portFile(settings), 4096)
    .map((content) =>
      parseJsonObject(content ?? '')
        .andThen((object) => decodeObject(object, { port: isPort, configured: integer(0, 65_535) }))
        .map(({ port, configured }) => (configured === settings.port ? port : undefined))
        .unwrapOr(undefined),
    )
    .orElse(() => okAsync(undefined));

/** Remembers a port, for the next `serve` on any port and for the next pairing. */
export const notePort = (
  { files }: Pick<AgentContext, 'files'>,
  settings: AgentSettings,
  port: number,
): ResultAsync<void, CtrlExecError<'file_failed'>> =>
  files
    .makeDirectory(settings.stateDir, 0o700)
    .andThen(() =>
      files.replace(portFile(settings), `${JSON.stringify({ port, configured: settings.port })}\n`, 0o600),
    );

/**
 * The port that a dispatcher is told: the one that is asked for, else the noted one, else the configured one. Where that is 0 one is
 * chosen now. It is noted, so that a `serve` on any port takes it.
 */
export function registeredPort(
  context: Pick<AgentContext, 'files' | 'random'>,
  settings: AgentSettings,
  asked: number | undefined,
): ResultAsync<number, CtrlExecError> {
  return notedPort(context, settings).andThen((noted) => {
    const port = asked || noted || (asked ?? settings.port) || anyPort(context);
    return port === noted ? okAsync(port) : notePort(context, settings, port).map(() => port);
  });
}

/** One of those that nobody registers (RFC 6335, section 6). */
function anyPort({ random }: Pick<AgentContext, 'random'>): number {
  const [high = 0, low = 0] = random.bytes(2);
  return 49_152 + ((high * 256 + low) % 16_384);
}
