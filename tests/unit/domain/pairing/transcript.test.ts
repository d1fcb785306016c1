import { createHash, createHmac, hkdfSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { fromBase64url, fromHex, hex, utf8 } from '../../../../src/domain/core/bytes.js';
import {
  commitment,
  confirmMessage,
  joinAgentMessage,
  joinDispatcherMessage,
  joinKeyInfo,
  pairingCode,
  transcriptHash,
} from '../../../../src/domain/pairing/transcript.js';

interface Vectors {
  inputs: {
    host: string;
    csr: string;
    tls_spki: string;
    ca: string[];
    dispatcher: string[];
    token: string;
  } & Record<'sid' | 'na' | 'nd' | 'join_id' | 'join_secret', string>;
  vectors: {
    offer: string;
    ca?: string[];
    join?: boolean;
    th: string;
    commit: string;
    code: string;
    confirm_msg_sha256: string;
    join_key?: string;
    mac_agent?: string;
    mac_dispatcher?: string;
  }[];
}

const { inputs, vectors }: Vectors = JSON.parse(
  readFileSync(new URL('../../../vectors/pairing-v2.json', import.meta.url), 'utf8'),
);
const sha256 = (data: Uint8Array): Uint8Array => createHash('sha256').update(data).digest();
const bytes = (text: string): Uint8Array => {
  const read = fromHex(text);
  if (!read) throw new Error(`not hex: ${text}`);
  return read;
};
const hmac = (key: Uint8Array, data: Uint8Array) => hex(createHmac('sha256', key).update(data).digest());

describe('the pairing transcript', () => {
  it.each(vectors.map((vector, index) => ({ name: `vector ${index + 1}`, vector })))(
    'agrees with $name',
    ({ vector }) => {
      const na = bytes(inputs.na);
      const nd = bytes(inputs.nd);
      const th = transcriptHash(sha256, {
        offer: vector.offer.split(',').map(Number),
        session: bytes(inputs.sid),
        host: inputs.host,
        csrDer: utf8(inputs.csr),
        tlsSpki: utf8(inputs.tls_spki),
        caDer: (vector.ca ?? inputs.ca).map(utf8),
        dispatcherDer: inputs.dispatcher.map(utf8),
        joinId: vector.join ? bytes(inputs.join_id) : undefined,
      });
      expect(hex(th)).toBe(vector.th);
      expect(hex(commitment(sha256, th, nd))).toBe(vector.commit);
      expect(pairingCode(sha256, th, na, nd)).toBe(vector.code);
      expect(hex(sha256(confirmMessage(th, na, nd)))).toBe(vector.confirm_msg_sha256);
      if (vector.join) {
        const secret = fromBase64url(inputs.token.split('.')[2] ?? '');
        expect(secret && hex(secret)).toBe(inputs.join_secret);
        const key = new Uint8Array(
          hkdfSync('sha256', bytes(inputs.join_secret), bytes(inputs.join_id), joinKeyInfo, 32),
        );
        expect(hex(key)).toBe(vector.join_key);
        expect(hmac(key, joinAgentMessage(th, bytes(vector.commit), na))).toBe(vector.mac_agent);
        expect(hmac(key, joinDispatcherMessage(th, na, nd))).toBe(vector.mac_dispatcher);
      }
    },
  );
});
