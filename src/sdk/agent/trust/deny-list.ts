import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import { configInvalid, contentLines } from '../../../domain/core/configuration.js';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import type { AgentSettings } from '../../../domain/settings/agent.js';
import { parseRevokedSerials } from '../../../domain/trust/revocation.js';
import { canonicalSerial } from '../../../domain/trust/serial.js';
import type { AgentContext } from '../context.js';

/** Bad lines that are named. */
const maxNamed = 10;

/** What the file of revoked serials says that people write (`revoked_serials`). */
export interface DenyList {
  /** Canonical. */
  readonly serials: ReadonlySet<string>;
  /** What is wrong with the file; undefined: nothing, and it counts alone. */
  readonly problem: CtrlExecError | undefined;
  /** One line each. */
  readonly warnings: readonly string[];
  /** What is to be stored, so that these serials are refused also after a start; undefined: it is, null: nothing is to be. */
  readonly keep: string | null | undefined;
}

/**
 * Reads the file of revoked serials. Where it has a bad line, or cannot be read, what held before goes on, and what is good of it is
 * added. A file that is not there holds nothing, for a person may remove it. Err: it cannot be read, and nobody knows what held before.
 * @param before serials that it gave when it was read last
 */
export function readDenyList(
  context: AgentContext,
  settings: AgentSettings,
  before: ReadonlySet<string> = new Set(),
): ResultAsync<DenyList, CtrlExecError> {
  const keyStore = context.keyStore(settings);
  return safeTry<DenyList, CtrlExecError>(async function* () {
    const kept = (yield* keyStore.read(['refused-serials']))['refused-serials'];
    const held = new Set([.../* defence: denied-serials-survive-restart */ serialsIn(kept ?? ''), ...before]);
    const found = await keyStore.read(['revoked-serials']);
    if (found.isErr() && kept === undefined && before.size === 0) return err(found.error);
    const text = found.isOk() ? found.value['revoked-serials'] : undefined;
    const { serials: good, badLines } = parseRevokedSerials(text ?? '');
    const problem = found.isErr() ? found.error : damaged(settings, badLines);
    const serials = problem ? /* defence: bad-line-lets-nobody-in */ new Set([...held, ...good]) : good;
    const next = text === undefined && !problem ? null : format(serials);
    const emptied = !problem && serials.size === 0 && held.size > 0;
    return ok({
      serials,
      problem,
      warnings: emptied
        ? [
            `${settings.revokedSerials}: holds no serial any more; ${held.size} that it held are not refused any more`,
          ]
        : [],
      keep: next === (kept ?? null) ? undefined : next,
    });
  });
}

/** Stores what a list is to be judged by when it is damaged. That this fails is told, and keeps nothing else from being done. */
export async function keepDenyList(
  { keyStore, events }: AgentContext,
  { settings, denied }: { readonly settings: AgentSettings; readonly denied: DenyList },
): Promise<void> {
  if (denied.keep === undefined) return;
  const stored = await keyStore(settings).replace({ 'refused-serials': denied.keep });
  if (stored.isErr())
    events.emit({ action: 'warning', level: 'warning', fields: { reason: stored.error.message } });
}

function damaged(
  { revokedSerials }: AgentSettings,
  badLines: ReturnType<typeof parseRevokedSerials>['badLines'],
): CtrlExecError<'config_invalid'> | undefined {
  const [first] = badLines;
  if (first === undefined) return undefined;
  const named = badLines.slice(0, maxNamed).map(({ line, text }) => `line ${line}: "${text}"`);
  const more = badLines.length - named.length;
  const which = `${named.join('; ')}${more > 0 ? `; and ${more} more` : ''}`;
  return configInvalid(
    revokedSerials,
    first.line,
    `not a serial, expected hex such as 1a2b or 1A:2B: ${which}. The other lines hold, and what held before`,
  );
}

const format = (serials: ReadonlySet<string>): string => [...serials].map((serial) => `${serial}\n`).join('');

const serialsIn = (text: string): readonly string[] =>
  contentLines(text).flatMap((line) => canonicalSerial(line.text) ?? []);
