import { parseDuration } from '../../../domain/core/duration.js';
import type { Dispatcher } from '../../../sdk/dispatcher/dispatcher.js';
import { complain, type ExitCode, exitCodes, report, say, saySurely } from '../../command-line.js';
import { confirm } from '../../confirm.js';
import { lostEvents } from '../../event-log.js';
import { printImport } from '../../import-report.js';
import { moment } from '../table.js';

export async function setupCa(dispatcher: Dispatcher): Promise<ExitCode> {
  const created = await dispatcher.setupCa();
  if (created.isErr()) return report(created.error);
  const { fingerprint, notAfter } = created.value;
  say(`CA created, valid until ${moment(notAfter)}`);
  say(`SHA-256 fingerprint: ${fingerprint}`);
  // Here once, where every dispatcher comes by: said by each command it would be noise.
  const configured = await dispatcher.configuration();
  const lost = configured.isOk() ? lostEvents(configured.value.settings.eventLog) : undefined;
  if (lost !== undefined) complain(`note: ${lost}`);
  return exitCodes.ok;
}

export function caFingerprint(dispatcher: Dispatcher, options: { json?: boolean }): Promise<ExitCode> {
  return dispatcher.ca().match(({ fingerprint, notAfter }) => {
    say(
      options.json
        ? JSON.stringify({ fingerprint, notAfter: new Date(notAfter).toISOString() })
        : fingerprint,
    );
    return exitCodes.ok;
  }, report);
}

export async function setupDispatcher(
  dispatcher: Dispatcher,
  options: { yes?: boolean; force?: boolean },
): Promise<ExitCode> {
  const { force = false } = options;
  const attempt = (replace: boolean) => dispatcher.setup({ replace, force });
  let outcome = await attempt(options.yes ?? false);
  if (outcome.isErr() && outcome.error.code === 'identity_exists' && outcome.error.reason === 'exists') {
    if (!process.stdin.isTTY) return report(outcome.error);
    if (!(await confirm('This dispatcher has an identity already. Replace it? [y/N] '))) {
      complain('nothing was changed');
      return exitCodes.failed;
    }
    outcome = await attempt(true);
  }
  return outcome.match(({ dispatcherId, serial, notAfter }) => {
    say(`Dispatcher ${dispatcherId}: certificate ${serial}, valid until ${moment(notAfter)}`);
    return exitCodes.ok;
  }, report);
}

export async function joinToken(
  dispatcher: Dispatcher,
  options: { host: string; ttl: string; json?: boolean },
): Promise<ExitCode> {
  const issued = await parseDuration(options.ttl, '--ttl').asyncAndThen((ttl) =>
    dispatcher.issueJoinToken({ host: options.host, ttl }),
  );
  if (issued.isErr()) return report(issued.error);
  const { token, name, expiresAt } = issued.value;
  const expires = new Date(expiresAt).toISOString();
  if (await saySurely(options.json ? JSON.stringify({ token, name, expires }) : token)) return exitCodes.ok;
  // A secret of which nobody knows who has read it.
  const withdrawn = await dispatcher.withdrawJoinToken(token);
  const why = withdrawn.isErr() ? withdrawn.error.message : 'it was used';
  complain(
    withdrawn.unwrapOr(false)
      ? 'the token could not be written, and was taken back: nobody can pair with it'
      : `the token could not be written, nor taken back (${why}): it holds until ${expires}`,
  );
  return exitCodes.failed;
}

export interface ImportStateOptions {
  readonly state?: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

export function importState(
  dispatcher: Dispatcher,
  directory: string,
  { json = false, ...options }: ImportStateOptions,
): Promise<ExitCode> {
  return dispatcher.importState({ directory, ...options }).match((found) => printImport(found, json), report);
}
