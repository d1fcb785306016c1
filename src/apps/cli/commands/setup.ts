import { parseDuration } from '../../../domain/core/duration.js';
import type { Dispatcher } from '../../../sdk/dispatcher/dispatcher.js';
import { complain, type ExitCode, exitCodes, say, saySurely } from '../../command-line.js';
import { confirm } from '../../confirm.js';
import { lostEvents } from '../../event-log.js';
import { printImport } from '../../import-report.js';
import { type Printing, print, refused } from '../printing.js';
import { moment, table } from '../table.js';

export async function setupCa(dispatcher: Dispatcher, options: Printing): Promise<ExitCode> {
  const created = await dispatcher.setupCa();
  if (created.isErr()) return refused(options)(created.error);
  const { fingerprint, notAfter } = created.value;
  print(options, { fingerprint, notAfter: new Date(notAfter).toISOString() }, [
    `CA created, valid until ${moment(notAfter)}`,
    `SHA-256 fingerprint: ${fingerprint}`,
  ]);
  // Here once, where every dispatcher comes by: said by each command it would be noise.
  const configured = await dispatcher.configuration();
  const lost = configured.isOk() ? lostEvents(configured.value.settings.eventLog) : undefined;
  if (lost !== undefined) complain(`note: ${lost}`);
  return exitCodes.ok;
}

export function caFingerprint(dispatcher: Dispatcher, options: Printing): Promise<ExitCode> {
  return dispatcher.ca().match(({ fingerprint, notAfter }) => {
    print(options, { fingerprint, notAfter: new Date(notAfter).toISOString() }, [fingerprint]);
    return exitCodes.ok;
  }, refused(options));
}

export async function setupDispatcher(
  dispatcher: Dispatcher,
  options: Printing & { yes?: boolean; force?: boolean },
): Promise<ExitCode> {
  const { force = false } = options;
  const attempt = (replace: boolean) => dispatcher.setup({ replace, force });
  let outcome = await attempt(options.yes ?? false);
  if (outcome.isErr() && outcome.error.code === 'identity_exists' && outcome.error.reason === 'exists') {
    if (!process.stdin.isTTY) return refused(options)(outcome.error);
    if (!(await confirm('This dispatcher has an identity already. Replace it? [y/N] '))) {
      complain('nothing was changed');
      return exitCodes.failed;
    }
    outcome = await attempt(true);
  }
  return outcome.match(({ dispatcherId, serial, notAfter }) => {
    print(options, { dispatcher_id: dispatcherId, serial, notAfter: new Date(notAfter).toISOString() }, [
      `Dispatcher ${dispatcherId}: certificate ${serial}, valid until ${moment(notAfter)}`,
    ]);
    return exitCodes.ok;
  }, refused(options));
}

export interface JoinTokenOptions extends Printing {
  readonly host?: string;
  readonly ttl: string;
}

export async function joinToken(dispatcher: Dispatcher, options: JoinTokenOptions): Promise<ExitCode> {
  const { host } = options;
  if (host === undefined) {
    complain('--host NAME is needed: the name that the host will ask for');
    return exitCodes.usage;
  }
  const issued = await parseDuration(options.ttl, '--ttl').asyncAndThen((ttl) =>
    dispatcher.issueJoinToken({ host, ttl }),
  );
  if (issued.isErr()) return refused(options)(issued.error);
  const { token, name, expiresAt, registered } = issued.value;
  if (registered)
    complain(
      `warning: an agent ${name} is registered: the token is refused (name_registered) until "ctrl-exec unpair ${name}"`,
    );
  const expires = new Date(expiresAt).toISOString();
  if (await saySurely(options.json ? JSON.stringify({ ok: 1, token, name, expires }) : token))
    return exitCodes.ok;
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

export function listJoinTokens(dispatcher: Dispatcher, options: Printing): Promise<ExitCode> {
  return dispatcher.joinTokens().match((tokens) => {
    const iso = (at: number) => new Date(at).toISOString();
    const json = tokens.map(({ createdAt, expiresAt, ...token }) => ({
      ...token,
      created: iso(createdAt),
      expires: iso(expiresAt),
    }));
    const rows = tokens.map(({ id, name, createdAt, expiresAt, state }) => [
      ...[id, name, moment(createdAt), moment(expiresAt)],
      state,
    ]);
    const shown = table(['ID', 'HOST', 'CREATED', 'EXPIRES', 'STATE'], rows);
    print(options, { tokens: json }, [shown.trimEnd()]);
    return exitCodes.ok;
  }, refused(options));
}

export function revokeJoinToken(dispatcher: Dispatcher, id: string, options: Printing): Promise<ExitCode> {
  return dispatcher.withdrawJoinToken(id).match((revoked) => {
    if (revoked) print(options, {}, ['Revoked: nobody can pair with this token']);
    else {
      const error =
        'a host has begun to pair with this token, or is paired: list-agents shows it, unpair undoes it';
      if (options.json) say(JSON.stringify({ ok: 0, error }));
      complain(error);
    }
    return revoked ? exitCodes.ok : exitCodes.failed;
  }, refused(options));
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
  return dispatcher
    .importState({ directory, ...options })
    .match((found) => printImport(found, json), refused({ json }));
}
