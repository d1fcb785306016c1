import { err, ok, type Result } from 'neverthrow';
import { splitCertificates } from '../../domain/core/pem.js';
import {
  loadedCertificates,
  withCertificate,
  withLoadedCertificates,
} from '../../domain/deploy/caddy-configuration.js';
import type { DeployContext } from './context.js';
import type { CheckedMaterial } from './material.js';

type Ports = Pick<DeployContext, 'caddyAdmin' | 'crypto' | 'policy'>;
type Loaded = readonly unknown[] | undefined;

/** How often a change is tried that somebody else's change of the document has come before. */
const attempts = 5;

/** Why a change was not made. `unsure`: it may have been made all the same; this is the list of before. */
interface FailedChange {
  readonly reason: string;
  readonly unsure: { readonly loaded: Loaded } | undefined;
}

/** Reads the document, and writes it with the list that `next` makes of the present one. */
async function change(
  { caddyAdmin, policy }: Ports,
  api: string,
  next: (loaded: Loaded) => { readonly loaded: Loaded } | undefined,
): Promise<Result<{ readonly before: Loaded; readonly changed: boolean }, FailedChange>> {
  const nothing = (reason: string) => err({ reason, unsure: undefined });
  const place = { api, owners: policy.owners };
  for (let attempt = 1; ; attempt += 1) {
    const found = await caddyAdmin.read(place);
    if (found.isErr()) return nothing(found.error.message);
    const { document, revision } = found.value;
    const before = loadedCertificates(document);
    if (before.isErr()) return nothing(`the configuration of ${api}: ${before.error}`);
    const wanted = next(before.value);
    if (wanted === undefined) return ok({ before: before.value, changed: false });
    const changed = withLoadedCertificates(document, wanted.loaded);
    if (changed.isErr()) return nothing(`the configuration of ${api}: ${changed.error}`);
    const written = await caddyAdmin.replace(place, { document: changed.value, revision });
    if (written.isOk()) return ok({ before: before.value, changed: true });
    const { error } = written;
    const outrun = error.code === 'refused' && error.status === 412;
    if (outrun && attempt < attempts) continue;
    const isSure =
      error.code === 'refused' || (error.code === 'connection_failed' && error.reason === 'owner');
    return isSure ? nothing(error.message) : err({ reason: error.message, unsure: { loaded: before.value } });
  }
}

/** Loads a certificate in the place of those for the same names. `changed`: it was not there already. */
export function loadCertificate(
  ports: Ports,
  api: string,
  material: CheckedMaterial,
): Promise<Result<{ readonly before: Loaded; readonly changed: boolean }, FailedChange>> {
  const { leaf, chain, key, certificate } = material;
  const names = (of: typeof certificate) =>
    [...new Set([...of.dnsNames, of.commonName ?? ''])]
      .filter((name) => name !== '')
      .toSorted()
      .join('\n');
  const wanted = names(certificate);
  const isReplaced = (pem: string) => {
    const other = ports.crypto.readCertificate(splitCertificates(pem)[0] ?? '');
    if (other.isErr()) return false;
    return pem === leaf + chain || (wanted !== '' && names(other.value) === wanted);
  };
  return change(ports, api, (loaded) => {
    const next = withCertificate(loaded ?? [], { certificate: leaf + chain, key }, isReplaced);
    return next && { loaded: next };
  });
}

/** Puts back the list that there was before. */
export const unloadCertificate = async (
  ports: Ports,
  api: string,
  before: Loaded,
): Promise<Result<unknown, string>> =>
  (await change(ports, api, () => ({ loaded: before }))).mapErr(({ reason }) => reason);
