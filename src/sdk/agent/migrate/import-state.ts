import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { printable } from '../../../domain/core/names.js';
import { type ImportReport, importLines } from '../../../domain/legacy/import-report.js';
import { canonicalSerial } from '../../../domain/trust/serial.js';
import { openImportDirectory } from '../../core/migrate/directory.js';
import { takeOver } from '../../core/migrate/ownership.js';
import type { AgentContext } from '../context.js';
import { beginReplayRecord, hasReplayRecord } from '../pairing/installation.js';
import { planAllowlist, planConfiguration } from './configuration.js';
import { planFileTrust } from './file-trust.js';
import { planIdentity } from './identity.js';
import { readAgentHost } from './sources.js';

/** Where the other installation is, and what of it holds here. */
export interface AgentImportOptions {
  /** The other installation: its configuration directory with its state beside it, or one directory with everything. */
  readonly directory: string;
  /** Where its state is, where that is not to be found from there. */
  readonly state?: string;
  /** Hex serial of the dispatcher's certificate; decides where what was written down may stand for two. */
  readonly dispatcherSerial?: string;
  /** Set `accept_legacy_dispatchers` in this agent's configuration. Default false. */
  readonly acceptLegacyDispatchers?: boolean;
  /** Say what would be done, and write nothing. Default false. */
  readonly dryRun?: boolean;
}

/**
 * Takes over what another installation of an agent has: configuration, allowlist, and at once key, certificate, CA, trusted
 * dispatchers and revoked serials. Nothing in its directory is changed; where that is this agent's own home, what is there
 * stays and what is missing is added, and a key that others may read is closed to them. What is here already is never
 * overwritten: an identity under another CA is an error, anything else stays as it is. Interrupted anywhere, a further call goes on.
 *
 * The record of requests is begun with the identity: an agent that verifies signatures has not had this key before, and whoever could
 * send a request again that was signed for it meanwhile needs the very key that signs new ones.
 *
 * Err: `invalid_argument` (no such directory, no serial), `identity_missing` (nothing to import), `certificate_invalid`,
 * `config_invalid`, `identity_exists`, and what the disk can meet.
 */
export function importState(
  context: AgentContext,
  options: AgentImportOptions,
): ResultAsync<ImportReport, CtrlExecError> {
  const { events, files, place } = context;
  const { dryRun = false, acceptLegacyDispatchers: accept = false } = options;
  return safeTry<ImportReport, CtrlExecError>(async function* () {
    const given = options.dispatcherSerial;
    const certain = given === undefined ? undefined : canonicalSerial(given);
    if (given !== undefined && certain === undefined) {
      const reason = 'a serial in hex is expected, such as 1a';
      return err(
        failure('invalid_argument', `--dispatcher-serial "${printable(given, 80)}": ${reason}`, {
          field: '--dispatcher-serial',
          reason,
        }),
      );
    }
    const directory = yield* openImportDirectory(files, 'ctrl-exec-agent', options, place);
    const sources = yield* readAgentHost(files, directory);
    const lines = importLines();
    const configuration = yield* planConfiguration(context, sources, accept, lines);
    const { settings } = configuration;
    const identity = yield* planIdentity(context, settings, sources, certain, lines);
    const allowlist = yield* planAllowlist(context, settings, sources, lines);
    if (!settings.acceptLegacyDispatchers)
      lines.advice.push(
        'while the dispatcher of this host is of an older version, accept_legacy_dispatchers = yes is needed in agent.conf (--accept-legacy-dispatchers writes it)',
      );
    const keyStore = context.keyStore(settings);
    const own = yield* planFileTrust(context, configuration, allowlist, directory.inPlace, lines);
    if (dryRun) return ok({ dryRun, ...lines });

    yield* takeOver(files, own.taken, {
      [place.configurationFile]: own.configuration,
      [settings.scriptsConf]: allowlist,
    });
    if (identity.closed !== undefined) yield* keyStore.replace({ 'agent-key': identity.closed });
    if (Object.keys(identity.change).length > 0) {
      yield* keyStore.replace(identity.change, { onlyIfAbsent: true });
    }
    // In place the key may be all there: no agent that verifies has served with it as long as there is no record.
    if (lines.imported.length > 0 && !(await hasReplayRecord(context, settings)))
      await beginReplayRecord(context, settings);
    if (lines.imported.length > 0)
      events.emit({
        action: 'state-imported',
        fields: { from: directory.path, serial: identity.serial, agents: undefined },
      });
    return ok({ dryRun, ...lines });
  });
}
