import { base64 } from './bytes.js';

/** A block of a PEM text (RFC 7468). */
export interface PemBlock {
  /** What stands behind BEGIN. */
  readonly label: string;
  /** With both of its lines, ending in a newline. */
  readonly text: string;
}

/** The complete blocks of a text, in their order; one pass, whatever the text is. */
export function pemBlocks(text: string): readonly PemBlock[] {
  const blocks: PemBlock[] = [];
  let open: { readonly label: string; readonly lines: string[] } | undefined;
  for (const line of text.split('\n').map((each) => each.trim())) {
    const [, word, label = ''] = /^-----(BEGIN|END) ([A-Z0-9 ]{1,64})-----$/.exec(line) ?? [];
    if (word === 'BEGIN') open = { label, lines: [line] };
    else if (open !== undefined) {
      open.lines.push(line);
      if (word !== 'END') continue;
      if (open.label === label) blocks.push({ label, text: `${open.lines.join('\n')}\n` });
      open = undefined;
    }
  }
  return blocks;
}

const keyLabels = [
  'PRIVATE KEY',
  'EC PRIVATE KEY',
  'RSA PRIVATE KEY',
  'ENCRYPTED PRIVATE KEY',
  'DSA PRIVATE KEY',
];

/** Whether a block holds a private key of a server. */
export const isKeyBlock = ({ label }: PemBlock): boolean => keyLabels.includes(label);

/** Whether a block holds a certificate. */
export const isCertificateBlock = ({ label }: PemBlock): boolean => label === 'CERTIFICATE';

/** The certificates of a PEM text that may hold several, one block each, ending in a newline. */
export const splitCertificates = (text: string): readonly string[] =>
  (text.match(/-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g) ?? []).map(
    (block) => `${block}\n`,
  );

/** One certificate as such a block. */
export const certificatePem = (der: Uint8Array): string => pemOf('CERTIFICATE', der);

/** One block, lines of 64 characters, ending in a newline. */
export const pemOf = (label: string, der: Uint8Array): string =>
  `-----BEGIN ${label}-----\n${(base64(der).match(/.{1,64}/g) ?? []).join('\n')}\n-----END ${label}-----\n`;
