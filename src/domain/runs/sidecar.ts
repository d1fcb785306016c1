import { err, ok, type Result } from 'neverthrow';
import { canonicalJson, parseJsonObject } from '../core/json.js';

/** Bytes that a sidecar may have. */
export const sidecarLimit = 64 * 1024;

/** The body's own version, or the text over whose SHA-256 its version is made. */
type SidecarVersion =
  | { readonly kind: 'own'; readonly text: string }
  | { readonly kind: 'digest'; readonly canonical: string };

export interface Sidecar {
  /** The body as it was read, with whatever members it has. */
  readonly schema: Record<string, unknown>;
  readonly version: SidecarVersion;
}

/**
 * Reads the schema sidecar of a script (wire-protocol 1.8): a JSON object of at most 64 KiB. Its own `version` counts
 * where it is a text that matches `^[A-Za-z0-9._-]{1,64}$`; otherwise the version is `sha256:` and the first 12 hex digits of
 * SHA-256 over `canonical`, which the caller computes.
 * @returns the reason why it cannot be used, as the error
 */
export function parseSidecar(text: string): Result<Sidecar, string> {
  if (text.length > sidecarLimit || new TextEncoder().encode(text).length > sidecarLimit)
    return err(`larger than ${sidecarLimit} bytes`);
  return parseJsonObject(text).andThen((schema) => {
    const own = schema['version'];
    // The pattern has no colon, so that no version of a body's own can pose as a digest.
    return ok({
      schema,
      version:
        typeof own === 'string' && /^[A-Za-z0-9._-]{1,64}$/.test(own)
          ? { kind: 'own' as const, text: own }
          : { kind: 'digest' as const, canonical: canonicalJson(schema) },
    });
  });
}
