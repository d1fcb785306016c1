import { err, ok, type Result } from 'neverthrow';
import { configInvalid, type ParsedConfiguration } from '../core/configuration.js';
import type { CtrlExecError } from '../core/errors.js';
import { parseHostArgument } from '../core/host-argument.js';
import { printable } from '../core/names.js';
import { parseCommand } from '../deploy/command.js';
import { accountPattern, plainPath } from '../deploy/fields.js';
import { type PullPolicy, strictPolicy } from '../deploy/policy.js';
import type { Field } from './fields.js';

/** The keys of `[pull]` that say what the control plane may do. No option and no variable says it. */
export const policyKeys = [
  'commands',
  'paths',
  'owners',
  'max_file_mode',
  'verify_hosts',
  'replace',
] as const;

/** At least one entry, separated by commas. */
const entries =
  <T>(read: (entry: string) => T | undefined, form: string): Field<readonly T[]> =>
  (text) => {
    const values = text.split(',').map((entry) => read(entry.trim()));
    const valid = values.filter((value) => value !== undefined);
    return valid.length === values.length ? ok(valid) : err(`${form}, separated by commas`);
  };

const fileMode: Field<number> = (text) =>
  /^0?[0-7]{3}$/.test(text) ? ok(Number.parseInt(text, 8)) : err('permission bits in octal such as 0644');

const absolutePaths = entries(plainPath, 'absolute paths without "." and ".."');

const inPlace: Field<readonly string[]> = (text) => {
  const [, paths = ''] = /^in-place\s+(.*)$/.exec(text) ?? [];
  return absolutePaths(paths).mapErr(() => 'in-place and the absolute paths of files, separated by commas');
};

/** As `isVerifyHost` compares them. */
function verifyHost(text: string): string | undefined {
  const read = parseHostArgument(text);
  if (read.isErr()) return undefined;
  const { host, ipv6, port } = read.value;
  const name = (ipv6 ? `[${host}]` : host).toLowerCase();
  return port === undefined ? name : `${name}:${port}`;
}

const fields = {
  commands: entries(parseCommand, 'commands of plain words (no quotes, no shell), each as the job has it'),
  owners: entries((name) => (accountPattern.test(name) ? name : undefined), 'names or numbers of accounts'),
  verifyHosts: entries(verifyHost, 'hosts, each host or host:port'),
};

/** The policy of this host: what the section adds to what the targets need by themselves. */
export function pullPolicy(
  section: ParsedConfiguration['pull'],
  file: string,
): Result<PullPolicy, CtrlExecError<'config_invalid'>> {
  const none = strictPolicy(file);
  const errors: CtrlExecError<'config_invalid'>[] = [];
  const read = <T>(key: (typeof policyKeys)[number], field: Field<T>, fallback: T): T => {
    const entry = section?.entries.get(key);
    if (entry === undefined) return fallback;
    const { line, value } = entry;
    return field(value).match(
      (allowed) => allowed,
      (expected) => {
        const found = value === '' ? 'is empty' : `is "${printable(value, 80)}"`;
        errors.push(configInvalid(file, line, `${key} ${found}, expected ${expected}`));
        return fallback;
      },
    );
  };
  const policy: PullPolicy = {
    ...none,
    commands: read('commands', fields.commands, none.commands),
    paths: read('paths', absolutePaths, none.paths),
    owners: read('owners', fields.owners, none.owners),
    maxFileMode: read('max_file_mode', fileMode, none.maxFileMode),
    verifyHosts: read('verify_hosts', fields.verifyHosts, none.verifyHosts),
    inPlace: read('replace', inPlace, none.inPlace),
    file,
  };
  const [first] = errors;
  return first === undefined ? ok(policy) : err(first);
}
