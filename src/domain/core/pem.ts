import { base64 } from './bytes.js';

/** A block of a PEM text (RFC 7468). */
export interface PemBlock {
  /** What stands behind BEGIN. */
  readonly label: string;
  /** With both of its lines, ending in a newline. */
  readonly text: string;
  /** What is between them, without white space. */
  readonly base64: string;
  /** The lines between the block before, or the beginning, and this one. */
  readonly before: readonly string[];
}

/** The complete blocks of a text, in their order, and the lines behind the last; one pass, whatever the text is. */
export function readPem(text: string): {
  readonly blocks: readonly PemBlock[];
  readonly behind: readonly string[];
} {
  const blocks: PemBlock[] = [];
  let before: string[] = [];
  /** Where in `before` the block begins that is open. */
  let from = 0;
  let open = '';
  for (const line of text.split('\n').map((each) => each.trim())) {
    before.push(line);
    const [, word, label = ''] = line.startsWith('-----') ? (marker.exec(line) ?? []) : [];
    if (word === 'BEGIN') [open, from] = [label, before.length - 1];
    if (word !== 'END') continue;
    if (open === label) {
      const lines = before.splice(from);
      const base64 = lines.slice(1, -1).join('').replaceAll(/\s/g, '');
      blocks.push({ label, text: `${lines.join('\n')}\n`, base64, before });
      before = [];
    }
    open = '';
  }
  return { blocks, behind: before };
}

const marker = /^-----(BEGIN|END) ([A-Z0-9 ]{1,64})-----$/;

export const pemBlocks = (text: string): readonly PemBlock[] => readPem(text).blocks;

/** Whether a block holds a private key of a server. */
export const isKeyBlock = ({ label }: PemBlock): boolean =>
  /^((EC|RSA|ENCRYPTED|DSA) )?PRIVATE KEY$/.test(label);

/** Whether a block holds a certificate. */
export const isCertificateBlock = ({ label }: PemBlock): boolean => label === 'CERTIFICATE';

/** The certificates of a PEM text that may hold several, one block each, ending in a newline. */
export const splitCertificates = (text: string): readonly string[] =>
  pemBlocks(text)
    .filter(isCertificateBlock)
    .map((block) => block.text);

/** One certificate as such a block. */
export const certificatePem = (der: Uint8Array): string => pemOf('CERTIFICATE', der);

/** One block, lines of 64 characters, ending in a newline. */
export const pemOf = (label: string, der: Uint8Array): string =>
  `-----BEGIN ${label}-----\n${(base64(der).match(/.{1,64}/g) ?? []).join('\n')}\n-----END ${label}-----\n`;
