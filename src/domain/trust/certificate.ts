import { dispatcherId, legacyDispatcherId } from '../core/names.js';

/** What this product reads from an X.509 certificate (RFC 5280). */
export interface Certificate {
  /** One PEM block, ending in a newline. */
  readonly pem: string;
  readonly der: Uint8Array;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  /** Canonical serial: lower-case hex, no leading zeros. */
  readonly serial: string;
  readonly commonName: string | undefined;
  /** DNS names of the subjectAltName, as written. */
  readonly dnsNames: readonly string[];
  /** URIs of the subjectAltName, as written. */
  readonly uris: readonly string[];
  /** Epoch milliseconds. */
  readonly notBefore: number;
  /** Epoch milliseconds. */
  readonly notAfter: number;
  readonly isCa: boolean;
  /** Extended key usages, or undefined where the extension is absent (then any usage is allowed). */
  readonly usages: readonly Usage[] | undefined;
}

/** Extended key usages that are told apart (RFC 5280, section 4.2.1.12). */
export type Usage = 'clientAuth' | 'serverAuth' | 'other';

/** Kinds of keys: ECDSA P-256 and P-384, Ed25519, RSA of 2048 and 4096 bits. */
export type KeyType = 'p256' | 'p384' | 'ed25519' | 'rsa2048' | 'rsa4096';

export const keyTypes: readonly KeyType[] = ['p256', 'p384', 'ed25519', 'rsa2048', 'rsa4096'];

/** What a certificate is for; wire-protocol 2.1 fixes usages and names of each. */
export type CertificateProfile =
  | { readonly kind: 'dispatcher'; readonly dispatcherId: string }
  | { readonly kind: 'pairing'; readonly dispatcherId: string }
  | {
      readonly kind: 'agent';
      readonly name: string;
      /** A legacy agent presents its certificate as a client, too. Default false. */
      readonly asClientToo?: boolean;
    };

export const dispatcherUri = (dispatcherId: string) => `ctrl-exec:dispatcher:${dispatcherId}`;
/** The id in the URI of a dispatcher; undefined: it is not such a URI. */
export const dispatcherIdOf = (uri: string): string | undefined => {
  const [, id] = /^ctrl-exec:dispatcher:(.*)$/.exec(uri) ?? [];
  return id === undefined ? undefined : dispatcherId(id).unwrapOr(undefined);
};

/** Whether a certificate carries the URI of this dispatcher. */
export const isDispatcherOf = ({ uris }: Pick<Certificate, 'uris'>, id: string): boolean =>
  uris.some((uri) => dispatcherIdOf(uri) === id);

/**
 * The id under which a certificate acts where its serial is trusted as `trustedAs`. A certificate that names a role
 * (`ctrl-exec:…`) must name that dispatcher and nothing else. One that names none, as imported CAs issue them, is judged by
 * `trustedAs` alone. A serial that is trusted without an id (`legacy`) takes the id that the certificate names.
 * @returns undefined where the certificate is for something else
 */
export function actsAs({ uris }: Pick<Certificate, 'uris'>, trustedAs: string): string | undefined {
  const roles = uris.filter((uri) => /^ctrl-exec:/i.test(uri));
  const [role] = roles;
  if (role === undefined) return trustedAs;
  const id = roles.length === 1 ? dispatcherIdOf(role) : undefined;
  return trustedAs === legacyDispatcherId || trustedAs === id ? id : undefined;
}

export const pairingUri = (dispatcherId: string) => `ctrl-exec:pairing:${dispatcherId}`;
export const agentUri = (name: string) => `ctrl-exec:agent:${name}`;

/** The names and the usages that a certificate of this profile carries. */
export function profileNames(profile: CertificateProfile): {
  commonName: string;
  dnsNames: readonly string[];
  uris: readonly string[];
  usages: readonly ('clientAuth' | 'serverAuth')[];
} {
  switch (profile.kind) {
    case 'dispatcher':
      return {
        commonName: profile.dispatcherId,
        dnsNames: [],
        uris: [dispatcherUri(profile.dispatcherId)],
        usages: ['clientAuth'],
      };
    case 'pairing':
      return {
        commonName: profile.dispatcherId,
        dnsNames: [],
        uris: [pairingUri(profile.dispatcherId)],
        usages: ['serverAuth'],
      };
    case 'agent':
      return {
        commonName: profile.name,
        dnsNames: [profile.name],
        uris: [agentUri(profile.name)],
        usages: profile.asClientToo ? ['serverAuth', 'clientAuth'] : ['serverAuth'],
      };
  }
}

/** A certificate usable for a purpose at a moment; undefined when it is, else why not. */
export function whyUnusable(
  certificate: Certificate,
  usage: 'clientAuth' | 'serverAuth',
  now: number,
): string | undefined {
  if (now < certificate.notBefore) return `not valid before ${new Date(certificate.notBefore).toISOString()}`;
  if (now > certificate.notAfter) return `expired at ${new Date(certificate.notAfter).toISOString()}`;
  if (certificate.isCa) return 'is a CA certificate';
  // defence: certificate-is-for-its-usage
  if (certificate.usages && !certificate.usages.includes(usage)) return `not for ${usage}`;
  return undefined;
}

/**
 * A time in OpenSSL's text form, `Jun  7 16:28:00 2027 GMT`, as `/ping` reports it (wire-protocol 1.2).
 * @param time epoch milliseconds
 */
export function opensslTime(time: number): string {
  const date = new Date(time);
  const month = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'][
    date.getUTCMonth()
  ];
  const day = String(date.getUTCDate()).padStart(2, ' ');
  return `${month} ${day} ${date.toISOString().slice(11, 19)} ${date.getUTCFullYear()} GMT`;
}
