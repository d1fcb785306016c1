import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ProbedEndpoint, TlsProbe } from '../../src/ports/tls-probe.js';
import { failure, value } from './result.js';

export interface TlsProbeSubject {
  readonly probe: TlsProbe;
  /** A server, and the fingerprint of what it presents to whoever asks for `www.test`, and to all others. */
  readonly server: ProbedEndpoint;
  readonly fingerprints: { readonly named: string; readonly others: string };
  /** Where nobody listens. */
  readonly nobody: ProbedEndpoint;
  readonly dispose: () => Promise<void>;
}

export function tlsProbeContract(name: string, create: () => Promise<TlsProbeSubject>): void {
  describe(`TLS probe contract: ${name}`, () => {
    let subject: TlsProbeSubject;
    beforeEach(async () => {
      subject = await create();
    });
    afterEach(() => subject.dispose());

    it('tells what is presented, by name and without one, whoever issued it', async () => {
      const { probe, server, fingerprints } = subject;
      const served = (serverName: string | undefined) =>
        probe.servedFingerprint({ ...server, serverName }, 5000);
      expect(value(await served('www.test'))).toBe(fingerprints.named);
      expect(value(await served(undefined))).toBe(fingerprints.others);
    });

    it('where nobody listens there is no connection', async () => {
      const error = failure(await subject.probe.servedFingerprint(subject.nobody, 5000));
      expect(error).toMatchObject({ code: 'connection_failed', reason: 'ECONNREFUSED' });
    });
  });
}
