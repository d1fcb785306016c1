import { err, ok, type Result } from 'neverthrow';
import { isJsonObject as isObject, type JsonObject } from '../core/decode.js';

/** A certificate as Caddy is given it: PEM, the chain after the leaf. */
export interface LoadedCertificate {
  readonly certificate: string;
  readonly key: string;
}

const own = (object: JsonObject, name: string): unknown =>
  Object.hasOwn(object, name) ? object[name] : undefined;

/** Replaces what is at a place in a document, making the objects on the way; undefined removes it. */
function replaced(
  document: unknown,
  [name, ...rest]: readonly string[],
  value: unknown,
): Result<unknown, string> {
  if (name === undefined) return ok(value);
  if (document !== undefined && document !== null && !isObject(document))
    return err(`what is above "${name}" is not an object`);
  const object = document ?? {};
  return replaced(own(object as JsonObject, name), rest, value).map((member) => {
    const others = Object.entries(object).filter(([other]) => other !== name);
    return Object.fromEntries(member === undefined ? others : [...others, [name, member]]);
  });
}

const place = ['apps', 'tls', 'certificates', 'load_pem'] as const;

/** The certificates that a document has loaded as PEM (`apps.tls.certificates.load_pem`); undefined: no such member. */
export function loadedCertificates(document: unknown): Result<readonly unknown[] | undefined, string> {
  let found: unknown = document;
  for (const name of place) found = isObject(found) ? own(found, name) : undefined;
  if (found === undefined || found === null) return ok(undefined);
  return Array.isArray(found) ? ok(found) : err('load_pem is not a list');
}

/** The document with these certificates loaded as PEM, all else as it was. */
export const withLoadedCertificates = (
  document: unknown,
  certificates: readonly unknown[] | undefined,
): Result<unknown, string> =>
  certificates === undefined && document === null ? ok(null) : replaced(document, place, certificates);

/**
 * The list with a certificate in it, in the place of those that `isReplaced` says have had its job. Undefined: it is there
 * already and nothing is to be replaced.
 */
export function withCertificate(
  loaded: readonly unknown[],
  certificate: LoadedCertificate,
  isReplaced: (pem: string) => boolean,
): readonly unknown[] | undefined {
  const pemOf = (entry: unknown) => (isObject(entry) ? own(entry, 'certificate') : undefined);
  const outdated = loaded.filter((entry) => {
    const pem = pemOf(entry);
    return typeof pem === 'string' && isReplaced(pem);
  });
  const present = outdated[0];
  const unchanged =
    outdated.length === 1 &&
    isObject(present) &&
    pemOf(present) === certificate.certificate &&
    own(present, 'key') === certificate.key;
  if (unchanged) return undefined;
  // Tags say which connection policies choose it: they go over to the certificate that takes its place.
  const tags = isObject(present) ? own(present, 'tags') : undefined;
  const entry = { ...certificate, ...(tags === undefined ? {} : { tags }) };
  return [...loaded.filter((each) => !outdated.includes(each)), entry];
}
