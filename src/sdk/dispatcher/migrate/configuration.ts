import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import { editConfiguration, parseConfiguration } from '../../../domain/core/configuration.js';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { isLoopback } from '../../../domain/core/ip-prefix.js';
import { dispatcherIdFromHostName } from '../../../domain/core/names.js';
import type { ImportLines } from '../../../domain/legacy/import-report.js';
import { type DispatcherSettings, dispatcherSettings } from '../../../domain/settings/dispatcher.js';
import {
  beginConfiguration,
  correctFirst,
  type PlannedConfiguration,
} from '../../core/migrate/configuration.js';
import type { DispatcherContext } from '../context.js';
import { type ControlHostSources, strandedFiles } from './sources.js';

type ConfigurationFailure = CtrlExecError<'config_invalid' | 'file_failed' | 'identity_exists'>;

/** Older versions serve the API to other hosts without TLS, as they were told; this one wants that said. */
function adviseOnApi(
  { apiBind, apiCert, apiPlainHttp, apiPortConfigured, apiSocket }: DispatcherSettings,
  lines: ImportLines,
): void {
  const listens = apiSocket === undefined || apiPortConfigured;
  if (!listens || apiPlainHttp || apiCert !== undefined || apiBind === 'localhost' || isLoopback(apiBind))
    return;
  lines.advice.push(
    `ctrl-exec-api does not start yet: api_bind = ${apiBind} lets other hosts in without TLS. Set api_cert and api_key, or api_plain_http = yes where a proxy in front of it does TLS`,
  );
}

const filesNamed = ['auth_hook', 'api_cert', 'api_key'] as const;

/** Takes the configuration over where there is none here, and sees to it that the id of the dispatcher is written down. */
export function planConfiguration(
  context: Pick<DispatcherContext, 'configurationFile' | 'files' | 'settings'>,
  sources: ControlHostSources,
  lines: ImportLines,
): ResultAsync<PlannedConfiguration<DispatcherSettings>, ConfigurationFailure> {
  const { configurationFile, files, settings } = context;
  const { configuration, directory } = sources;
  return safeTry<PlannedConfiguration<DispatcherSettings>, ConfigurationFailure>(async function* () {
    const written = configuration?.taken.settings.get('dispatcher_id')?.value;
    const theirs = written === undefined || written === '' ? undefined : dispatcherIdFromHostName(written);
    const id = theirs ?? settings.dispatcherId;
    if (theirs !== undefined && settings.dispatcherIdConfigured && theirs !== settings.dispatcherId) {
      const reason = 'another dispatcher_id';
      const message = `${configurationFile} says dispatcher_id = ${settings.dispatcherId}, and agents know the dispatcher of ${directory.path} as ${theirs}: nothing was imported`;
      return err(failure('identity_exists', message, { reason }));
    }
    if (theirs === undefined && !settings.dispatcherIdConfigured)
      lines.warnings.push(
        `dispatcher_id is not set in ${directory.path}, and becomes ${id}, the name of this host: if the dispatcher ran elsewhere, set it to the name of that host`,
      );

    const { present, before, taken, shown, remarks } = yield* beginConfiguration(
      files,
      configurationFile,
      sources,
      ['dispatcher_id'],
      lines,
    );
    const needsId = present === undefined ? written !== id : !settings.dispatcherIdConfigured;
    const text = needsId ? editConfiguration(before, 'dispatcher_id', id) : before;
    if (needsId)
      lines.imported.push({
        what: 'dispatcher_id',
        detail: `${id}, written into ${configurationFile}`,
      });

    const { home, stateDir } = settings;
    const base = { home, stateDir, file: configurationFile, hostName: id, fileTrust: settings.fileTrust };
    const read = yield* parseConfiguration(text, shown)
      .andThen((parsed) => dispatcherSettings(parsed, base))
      .mapErr(correctFirst(configurationFile));
    if (taken) lines.warnings.push(...read.warnings);
    adviseOnApi(read.settings, lines);
    lines.warnings.push(...remarks);
    if (taken || directory.inPlace) lines.warnings.push(...(await strandedFiles(files, sources, filesNamed)));
    return ok({ text: text === (present ?? '') ? undefined : text, before, settings: read.settings });
  });
}
