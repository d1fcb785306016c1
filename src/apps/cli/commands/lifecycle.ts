import type { BannedKey } from '../../../domain/trust/banned-key.js';
import type { Dispatcher } from '../../../sdk/dispatcher/dispatcher.js';
import type { CaRollover } from '../../../sdk/dispatcher/maintenance/ca-rollover.js';
import type { Maintenance } from '../../../sdk/dispatcher/maintenance/maintain.js';
import type { Untold } from '../../../sdk/dispatcher/trust/pending-revocations.js';
import type { Rotation } from '../../../sdk/dispatcher/trust/rotation.js';
import { type ExitCode, exitCodes } from '../../command-line.js';
import { type AskOptions, asking } from '../options.js';
import { type Printing, print, refused } from '../printing.js';
import { warnOfPending } from '../revocations-pending.js';
import { moment, table } from '../table.js';

export type GovernedOptions = Omit<AskOptions, 'port'>;

const counted = (count: number, what: string) => `${count} ${what}${count === 1 ? '' : 's'}`;

const untold = (verb: string, agents: readonly Untold[]) =>
  agents.map(({ name, reason }) => `  ${verb} ${name}: ${reason}`);

const ended = (failed: boolean): ExitCode => (failed ? exitCodes.failed : exitCodes.ok);

function rotationLines(rotation: Rotation): string[] {
  const { state, old, next, acknowledged, pending, refused, revoked, number } = rotation;
  if (revoked)
    return [
      `Certificate ${next} is in use, and revoked are: ${revoked.join(' ')} (list ${number}, ${counted(acknowledged.length, 'agent')} told)`,
      ...untold('pending', pending),
    ];
  const head =
    state === 'switched'
      ? `Certificate ${next} is in use, ${old} before it; ${counted(acknowledged.length, 'agent')} told`
      : `Certificate ${next} is announced, ${old} still in use: ${counted(refused.length, 'agent')} refused it (--force switches all the same)`;
  return [head, ...untold('pending', pending), ...untold('refused', refused)];
}

export async function rotateCert(
  dispatcher: Dispatcher,
  options: GovernedOptions & { force?: boolean; compromised?: boolean },
): Promise<ExitCode> {
  const { force: insist = false, compromised = false } = options;
  return asking(options)
    .asyncAndThen((asked) => dispatcher.rotate({ ...asked, insist, compromised }))
    .match((rotation) => {
      print(options, rotation, rotationLines(rotation));
      const left = rotation.revoked !== undefined && rotation.pending.length > 0;
      return ended(rotation.state === 'waiting' || left);
    }, refused(options));
}

export function serialStatus(dispatcher: Dispatcher, options: Printing): Promise<ExitCode> {
  return dispatcher.serialStatus().match((status) => {
    const { current, next, previous, notAfter, overlapEnds, agents } = status;
    const date = (time: number | undefined) => (time === undefined ? null : new Date(time).toISOString());
    print(
      options,
      {
        current,
        expiry: date(notAfter),
        next: next ?? null,
        previous: previous ?? null,
        overlap_ends: date(overlapEnds),
        agents: agents.map(({ lastContact, revocationsPendingSince, ...agent }) => ({
          ...agent,
          last_contact: date(lastContact),
          revocations_pending_since: date(revocationsPendingSince),
        })),
      },
      [
        `current   ${current}, valid until ${moment(notAfter)}`,
        ...(next === undefined ? [] : [`next      ${next}, announced`]),
        ...(previous === undefined
          ? []
          : [`previous  ${previous}${overlapEnds === undefined ? '' : `, until ${moment(overlapEnds)}`}`]),
        '',
        table(
          ['HOST', 'STATE', 'LAST CONTACT', 'SERIALS'],
          agents.map(({ name, state, lastContact, serials }) => [
            name,
            state,
            lastContact === undefined ? '-' : moment(lastContact),
            serials.join(' '),
          ]),
        ).trimEnd(),
      ],
    );
    warnOfPending(
      agents.map(({ name, revocationsPendingSince: since }) => ({
        host: name,
        ...(since !== undefined && { revocationsPendingSince: since }),
      })),
    );
    return exitCodes.ok;
  }, refused(options));
}

const maintenanceLines = (done: Maintenance): string[] => [
  ...(done.rotation ? rotationLines(done.rotation) : []),
  `${counted(done.renewed.length, 'agent')} renewed, ${done.told.length} told, ${done.failed.length} failed, ${done.pending.length} pending, ${done.stale.length} stale`,
  ...done.renewed.map((name) => `  renewed ${name}`),
  ...untold('failed', done.failed),
  ...done.stale.map((name) => `  stale ${name}: it follows when it comes back`),
  ...done.lapsed.map((name) => `  lapsed ${name}: its certificate was never installed, and is revoked`),
  ...(done.caRetired ? ['The former CA is not accepted any more'] : []),
];

export function maintain(dispatcher: Dispatcher, options: Printing): Promise<ExitCode> {
  return dispatcher.maintain().match((done) => {
    print(options, done, maintenanceLines(done));
    return ended(done.failed.length > 0 || done.rotation?.state === 'waiting');
  }, refused(options));
}

export async function revoke(
  dispatcher: Dispatcher,
  nameOrSerial: string,
  options: GovernedOptions,
): Promise<ExitCode> {
  return asking(options)
    .asyncAndThen((asked) => dispatcher.revoke(nameOrSerial, asked))
    .match((revoked) => {
      const { serials, name, number, told, pending } = revoked;
      const whose = name === undefined ? '' : ` of ${name}`;
      print(options, revoked, [
        `Revoked${whose}: ${serials.join(' ')} (list ${number}, ${counted(told.length, 'agent')} told)`,
        ...untold('pending', pending),
      ]);
      return ended(pending.length > 0);
    }, refused(options));
}

const bannedJson = ({ spkiSha256, name, bannedAt }: BannedKey) => ({
  key: spkiSha256,
  name,
  banned: new Date(bannedAt).toISOString(),
});

/** Lifts the ban of a key, or lists those that are banned. */
export async function unban(
  dispatcher: Dispatcher,
  key: string | undefined,
  options: GovernedOptions,
): Promise<ExitCode> {
  if (key === undefined)
    return dispatcher.bannedKeys().match((keys) => {
      const rows = keys.map(({ spkiSha256, name, bannedAt }) => [spkiSha256, name, moment(bannedAt)]);
      const text = keys.length === 0 ? 'no key is banned' : table(['KEY', 'NAME', 'BANNED'], rows).trimEnd();
      print(options, { keys: keys.map(bannedJson) }, [text]);
      return exitCodes.ok;
    }, refused(options));
  return asking(options)
    .asyncAndThen((asked) => dispatcher.unban(key, asked))
    .match((banned) => {
      print(options, bannedJson(banned), [
        `The key ${banned.spkiSha256} of ${banned.name} may be paired again; its certificates stay revoked`,
      ]);
      return exitCodes.ok;
    }, refused(options));
}

export async function readmit(
  dispatcher: Dispatcher,
  name: string,
  options: GovernedOptions,
): Promise<ExitCode> {
  return asking(options)
    .asyncAndThen((asked) => dispatcher.readmit(name, asked))
    .match((renewal) => {
      const { name: host, serial, notAfter } = renewal;
      print(options, { host, serial, expiry: new Date(notAfter).toISOString() }, [
        `${host}: certificate ${serial}, valid until ${moment(notAfter)}`,
      ]);
      return exitCodes.ok;
    }, refused(options));
}

const rolloverLines = ({ fingerprint, remaining, maintenance }: CaRollover): string[] => [
  `CA SHA-256 fingerprint: ${(fingerprint.match(/../g) ?? []).join(':').toUpperCase()}`,
  ...maintenanceLines(maintenance),
  remaining.length === 0
    ? 'No agent has a certificate of the former CA any more; maintain gives it up when the overlap has ended'
    : `${counted(remaining.length, 'agent')} with a certificate of the former CA: ${remaining.join(' ')} (maintain goes on)`,
];

export async function rotateCa(
  dispatcher: Dispatcher,
  options: GovernedOptions & { force?: boolean },
): Promise<ExitCode> {
  return asking(options)
    .asyncAndThen((asked) => dispatcher.rotateCa({ ...asked, insist: options.force ?? false }))
    .match((rollover) => {
      print(options, rollover, rolloverLines(rollover));
      return ended(rollover.remaining.length > 0);
    }, refused(options));
}
