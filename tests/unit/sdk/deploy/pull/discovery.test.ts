import { describe, expect, it } from 'vitest';
import { pullWorld } from '../../../../support/deployment/pull-world.js';
import { eventsOf } from '../../../../support/fleet/events.js';
import type { MemoryTreeFile } from '../../../../support/memory/file-tree.js';
import { testCa } from '../../../../support/network/test-pki.js';

const bytes = (text: string) => new TextEncoder().encode(text);
const derOf = (pem: string) =>
  new Uint8Array(Buffer.from(pem.replaceAll(/-----[A-Z ]+-----|\s/g, ''), 'base64'));

async function world(files: Readonly<Record<string, MemoryTreeFile>>) {
  const tree = new Map(Object.entries(files).map(([name, file]) => [`/tls/${name}`, file]));
  return pullWorld({ tree, variables: { CERTCTL_DISCOVERY_DIRS: '/tls' } });
}
type World = Awaited<ReturnType<typeof pullWorld>>;
const reports = (made: World) =>
  made.to('/discoveries').map(({ body }) => ({
    found: ((body?.['certificates'] ?? []) as { source_path: string; source_format: string }[]).map(
      ({ source_path, source_format }) => `${source_format} ${source_path}`,
    ),
    errors: body?.['errors'] as string[],
  }));

describe('a scan', () => {
  it('reports every certificate of every file, and what could not be read', async () => {
    const ca = await testCa();
    const [one, two] = [await ca.issue(), await ca.issue()];
    const made = await world({
      'chain.pem': bytes(one.certificate + ca.pem),
      'one.der': derOf(one.certificate),
      'two.conf': bytes(`# settings\n${two.certificate}`),
      'two.key': bytes(two.key + two.certificate),
      plain: bytes(two.certificate),
      'no.der': bytes('hello'),
      'half.pem': bytes('-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n'),
      'closed.pem': { reason: 'cannot read /tls/closed.pem: EACCES' },
      'notes.txt': bytes('no certificate here'),
    });
    await made.run(true);
    expect(reports(made)).toEqual([
      {
        found: ['PEM /tls/chain.pem', 'PEM /tls/chain.pem', 'DER /tls/one.der', 'PEM /tls/two.conf'],
        errors: [
          '/tls/no.der: not a certificate',
          '/tls/half.pem: certificate 1 cannot be read',
          'cannot read /tls/closed.pem: EACCES',
        ],
      },
    ]);
    expect(eventsOf(made.events, 'discovery-scanned')).toMatchObject([
      { fields: { certificates: 4, errors: 3 } },
    ]);
  });

  it('of nothing is not reported, one with errors only is', async () => {
    const nothing = await world({ 'notes.txt': bytes('') });
    await nothing.run(true);
    expect(reports(nothing)).toEqual([]);
    const missing = await pullWorld({ variables: { CERTCTL_DISCOVERY_DIRS: '/none' } });
    await missing.run(true);
    expect(reports(missing)).toEqual([{ found: [], errors: [expect.stringContaining('/none')] }]);
  });

  it('that the control plane calls too large is sent in parts, every certificate once and the errors once', async () => {
    const ca = await testCa();
    const pems = await Promise.all(Array.from({ length: 5 }, () => ca.issue()));
    const files = Object.fromEntries(pems.map(({ certificate }, at) => [`${at}.pem`, bytes(certificate)]));
    const made = await world({ ...files, 'no.der': bytes('') });
    made.plane.answer = ({ body }) => {
      const certificates = body?.['certificates'];
      return Array.isArray(certificates) && certificates.length > 2 ? { status: 413 } : undefined;
    };
    await made.run(true);
    const taken = reports(made).filter(({ found }) => found.length <= 2);
    expect(taken.flatMap(({ found }) => found)).toEqual(pems.map((_, at) => `PEM /tls/${at}.pem`));
    expect(taken.flatMap(({ errors }) => errors)).toHaveLength(1);
    expect(eventsOf(made.events, 'discovery-report-failed')).toEqual([]);
  });

  it('that cannot be reported is logged, also where it is one certificate that is too large', async () => {
    const ca = await testCa();
    for (const status of [413, 500]) {
      const made = await world({ 'ca.pem': bytes(ca.pem) });
      made.plane.answer = ({ path }) => (path.endsWith('/discoveries') ? { status } : undefined);
      expect(await made.run(true)).toEqual({ reason: 'once', failures: 0 });
      expect(eventsOf(made.events, 'discovery-report-failed')).toHaveLength(1);
    }
  });

  it('comes after the first poll and then every six hours, a tenth more or less', async () => {
    const ca = await testCa();
    const made = await world({ 'ca.pem': bytes(ca.pem) });
    const running = made.run();
    await made.clock.advance(24 * 3_600_000);
    const times = made.times.filter(({ path }) => path.endsWith('/discoveries')).map(({ at }) => at);
    const firstPoll = made.times.find(({ path }) => path.endsWith('/work'))?.at ?? 0;
    expect(times[0]).toBe(firstPoll);
    expect(times.length).toBeGreaterThanOrEqual(4);
    times.slice(1).forEach((time, at) => {
      expect(Math.abs(time - (times[at] ?? 0) - 6 * 3_600_000)).toBeLessThanOrEqual(0.6 * 3_600_000);
    });
    made.stop.abort();
    await made.clock.advance(0);
    await running;
  });
});
