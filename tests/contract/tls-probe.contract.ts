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

    it('an address is its own; this host is local, and a name that there is not resolves to nothing', async () => {
      const { probe } = subject;
      const resolved = async (host: string) => value(await probe.resolve(host));
      expect(await resolved('127.0.0.9')).toEqual([{ address: '127.0.0.9', isLocal: true }]);
      expect(await resolved('0:0::1')).toEqual([{ address: '::1', isLocal: true }]);
      expect(await resolved('::ffff:127.0.0.1')).toEqual([{ address: '127.0.0.1', isLocal: true }]);
      for (const address of ['203.0.113.7', '0.0.0.0', '::', '169.254.169.254'])
        expect(await resolved(address)).toEqual([{ address, isLocal: false }]);
      for (const each of await resolved('localhost')) expect(each.isLocal).toBe(true);
      const nowhere = failure(await probe.resolve('no-such-host.invalid'));
      expect(nowhere).toMatchObject({ code: 'host_unresolved', host: 'no-such-host.invalid' });
    });

    it('where nobody listens there is no connection', async () => {
      const error = failure(await subject.probe.servedFingerprint(subject.nobody, 5000));
      expect(error).toMatchObject({ code: 'connection_refused', port: subject.nobody.port });
    });
  });
}
