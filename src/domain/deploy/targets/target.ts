import { err, ok, type Result } from 'neverthrow';
import { type DecodedObject, decodeObject, type Field, integer, optional } from '../../core/decode.js';
import type { Command } from '../command.js';
import { account, command, fileMode, withoutZeroValues } from '../fields.js';
import type { TargetDefaults } from '../policy.js';
import {
  observationRule,
  type VerificationRule,
  verificationFields,
  verificationRule,
} from '../verification.js';
import { targetDefaults } from './defaults.js';

/** What is to be installed, PEM; each ends in a newline. */
export interface Material {
  readonly leaf: string;
  /** The certificates above the leaf, in order; empty when there are none. */
  readonly chain: string;
  readonly key: string;
}

/** What a file holds: a leaf and maybe its chain, a chain, a key, all of them, or Envoy's secret discovery. */
export type FileKind = 'cert' | 'chain' | 'key' | 'pem' | 'sds';

/** A file that a target wants. */
export interface WantedFile {
  readonly path: string;
  readonly content: string;
  readonly kind: FileKind;
  /** Permission bits; undefined: those that the file has, for a new one 0640 with a key and 0644 without. */
  readonly mode: number | undefined;
  /** Name or number; undefined: that of the file, for a new one whoever writes it. */
  readonly owner: string | undefined;
  readonly group: string | undefined;
  /** A directory that the file must be in once every link is resolved. */
  readonly within: string | undefined;
}

/** Whether a file holds a private key. */
export const isSecret = ({ kind }: WantedFile): boolean => kind === 'key' || kind === 'pem';

/** All that a target says about a deployment. */
export interface Installation {
  readonly files: readonly WantedFile[];
  readonly validate: Command | undefined;
  readonly reload: Command | undefined;
  readonly verification: VerificationRule | undefined;
  /** How what is served is looked at once the deployment holds. Never together with `verification`. */
  readonly observation: VerificationRule | undefined;
  /** Base URL of the Caddy administration API that is given the certificate. */
  readonly adminApi: string | undefined;
  /** Backups kept after the deployment. */
  readonly backups: number;
  readonly warnings: readonly string[];
}

/** A kind of server: what it wants for a certificate. */
export interface DeploymentTarget {
  /** As the control plane names it. */
  readonly type: string;
  /** What it is allowed without a line in the configuration. */
  readonly defaults: TargetDefaults;
  /** @param config as received; the error says which member is wrong and what is expected */
  install(config: unknown, material: Material): Result<Installation, string>;
}

type Fields = Readonly<Record<string, Field<unknown>>>;

/** Members that every target knows. */
const commonFields = {
  ...verificationFields,
  backup_retention: optional(integer(-1, 1000)),
  validate_command: optional(command),
  reload_command: optional(command),
};

type Settings<F extends Fields> = DecodedObject<typeof commonFields & F>;

const defaultBackups = 3;

/** A target from its own members of the configuration and from what they mean. Members that nobody knows are ignored. */
export const target = <F extends Fields>(
  type: string,
  fields: F,
  want: (
    settings: Settings<F>,
    material: Material,
  ) => Result<Partial<Omit<Installation, 'verification' | 'observation'>>, string>,
): DeploymentTarget => ({
  type,
  defaults: targetDefaults(type),
  install: (config, material) =>
    decodeObject(withoutZeroValues(config), { ...commonFields, ...fields }, { open: true }).andThen(
      (decoded) => {
        const settings = decoded as Settings<F> & DecodedObject<typeof commonFields>;
        const { rule, warnings } = verificationRule(settings);
        const retention = settings.backup_retention ?? defaultBackups;
        return want(settings, material).andThen((wanted) => {
          const installation = {
            files: [],
            validate: settings.validate_command,
            reload: settings.reload_command,
            adminApi: undefined,
            backups: Math.max(0, retention),
            ...wanted,
            verification: rule,
            observation: settings.post_deploy_verify === undefined ? observationRule(config) : undefined,
            warnings: [...warnings, ...(wanted.warnings ?? [])],
          };
          return twice(installation.files) ?? ok(installation);
        });
      },
    ),
});

function twice(files: readonly WantedFile[]): Result<never, string> | undefined {
  const paths = files.map(({ path }) => path);
  const repeated = paths.find((path, index) => paths.indexOf(path) !== index);
  return repeated === undefined ? undefined : err(`${repeated} is named for two different files`);
}

type Part = Exclude<FileKind, 'sds'>;

/** The members that give the mode and the owner of one file: `cert_file_mode`, `cert_file_owner`, `cert_file_group`. */
export const ownership = <P extends Part>(part: P) =>
  ({
    [`${part}_file_mode`]: optional(fileMode),
    [`${part}_file_owner`]: optional(account),
    [`${part}_file_group`]: optional(account),
  }) as {
    readonly [K in `${P}_file_mode`]: Field<number> & { optional: true };
  } & { readonly [K in `${P}_file_${'owner' | 'group'}`]: Field<string> & { optional: true } };

type Ownership = { readonly [K in `${Part}_file_mode`]?: number } & {
  readonly [K in `${Part}_file_${'owner' | 'group'}`]?: string;
};

/** A file with the mode and the owner that the settings give to this kind. */
export const wanted = (
  kind: FileKind,
  path: string,
  content: string,
  settings: Ownership,
  within?: string,
): WantedFile => ({
  path,
  content,
  kind,
  mode: kind === 'sds' ? undefined : settings[`${kind}_file_mode`],
  owner: kind === 'sds' ? undefined : settings[`${kind}_file_owner`],
  group: kind === 'sds' ? undefined : settings[`${kind}_file_group`],
  within,
});

/** Paths of the files of which each may have its own place. */
interface Places {
  readonly cert: string;
  readonly chain?: string | undefined;
  readonly key?: string | undefined;
}

/**
 * The certificate, its chain and its key, each in a file. Without a place for the chain it follows the leaf; with one
 * and no chain, that file is left alone. Without a place for the key, it is left alone, too.
 */
export function separateFiles(
  places: Places,
  { leaf, chain, key }: Material,
  settings: Ownership,
  within?: string,
): readonly WantedFile[] {
  const apart = places.chain !== undefined;
  return [
    wanted('cert', places.cert, apart ? leaf : leaf + chain, settings, within),
    ...(places.chain !== undefined && chain !== ''
      ? [wanted('chain', places.chain, chain, settings, within)]
      : []),
    ...(places.key !== undefined ? [wanted('key', places.key, key, settings, within)] : []),
  ];
}
