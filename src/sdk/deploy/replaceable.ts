import { isCertificateBlock, isKeyBlock, pemBlocks } from '../../domain/core/pem.js';
import type { FileKind } from '../../domain/deploy/targets/target.js';
import type { Certificate } from '../../domain/trust/certificate.js';
import type { Crypto } from '../../ports/crypto.js';
import { chainAbove, distinct } from './material.js';

/** A file that a deployment would replace, as text. */
interface Present {
  readonly kind: FileKind;
  readonly content: string;
}

/** Longest chain that counts as one. */
const maxChain = 10;

const described: Readonly<Record<FileKind, string>> = {
  cert: 'the certificate of a server, with or without its chain',
  chain: `a chain of at most ${maxChain} CA certificates without a root`,
  key: 'private keys',
  pem: 'the certificate of a server and its key',
  sds: "Envoy's secret discovery",
};

/**
 * Why a file must not be replaced: it holds something of another kind than what would come in its place. Undefined: it may.
 * A list of CAs decides whom a service trusts, and a control plane must not decide that.
 * @param among all files of the deployment that are there
 */
export function whyNotReplaceable(
  crypto: Crypto,
  path: string,
  present: Present,
  among: readonly Present[],
): string | undefined {
  const { kind, content } = present;
  if (content.trim() === '') return undefined;
  const isFit = kind === 'sds' ? isSecretDiscovery(content) : isOfKind(crypto, kind, content, among);
  // defence: pull-replaces-its-kind
  if (!isFit)
    return `${path} holds something else than ${described[kind]}, and is left alone: move it away if it is not needed`;
  return undefined;
}

function isOfKind(
  crypto: Crypto,
  kind: Exclude<FileKind, 'sds'>,
  content: string,
  among: readonly Present[],
): boolean {
  const blocks = pemBlocks(content);
  const pem = blocks.filter(isCertificateBlock);
  const certificates = pem.flatMap(({ text }) => crypto.readCertificate(text).unwrapOr(undefined) ?? []);
  if (certificates.length < pem.length) return false;
  const hasKey = blocks.some(isKeyBlock);
  switch (kind) {
    case 'key':
      return hasKey && certificates.length === 0;
    case 'chain':
      return !hasKey && isChain(crypto, certificates);
    default:
      return hasKey === (kind === 'pem') && holdsLeaf(crypto, certificates, among);
  }
}

/** A root among them would be trusted by somebody: a list of intermediate CAs alone is a chain. */
const isChain = (crypto: Crypto, certificates: readonly Certificate[]): boolean =>
  certificates.length > 0 &&
  certificates.length <= maxChain &&
  // defence: pull-keeps-roots
  certificates.every((each) => each.isCa && !crypto.issuedBy(each, each));

/**
 * One certificate of a server, and nothing but what is above it: with more it is a list of what a service trusts. Self-signed
 * certificates often call themselves a CA: with its key among the files it is that of a server all the same.
 */
function holdsLeaf(crypto: Crypto, certificates: readonly Certificate[], among: readonly Present[]): boolean {
  const keys = among.flatMap(({ content }) =>
    pemBlocks(content)
      .filter(isKeyBlock)
      .flatMap(({ text }) => crypto.signingKey(text).unwrapOr(undefined) ?? []),
  );
  const leaf =
    certificates.find((each) => keys.some(({ spki }) => crypto.equal(spki, each.spki))) ??
    certificates.find(({ isCa }) => !isCa);
  return (
    /* defence: pull-keeps-trust-lists */ leaf !== undefined &&
    chainAbove(crypto, leaf, distinct(crypto, certificates)).isOk()
  );
}

function isSecretDiscovery(content: string): boolean {
  try {
    const { resources } = JSON.parse(content) as { resources?: unknown };
    return (
      Array.isArray(resources) &&
      resources.length > 0 &&
      resources.every((each) => typeof each === 'object' && each !== null && 'tls_certificate' in each)
    );
  } catch {
    return false;
  }
}
