import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { value } from '../../contract/result.js';
import { shared } from '../../support/commands/commands.js';
import { gate } from '../../support/fleet/fleet.js';
import { backdateSwitch, identityOf, ran, servingFleet } from '../../support/fleet/lifecycle-fleet.js';
import { noOpenssl, openssl } from '../../support/network/openssl.js';

const fleet = shared(() => servingFleet(['web-01', 'db-01'], 'cert_overlap_days = 1\n'));

const pemsIn = (...path: readonly string[]) =>
  readFileSync(join(...path), 'utf8').match(/-----BEGIN [^-]+-----[^-]*-----END [^-]+-----/g) ?? [];

const fingerprint = (pem: string) => new X509Certificate(pem).fingerprint256;

const issuedBy = (pem: string, ca: string) =>
  new X509Certificate(pem).verify(new X509Certificate(ca).publicKey);

const certificate = (name: string) => readFileSync(join(fleet().agent(name).home, 'agent.crt'), 'utf8');

it('rotate-ca: nobody is visited, nothing fails, and in the end nothing is left of the former CA', {
  timeout: 90_000,
}, async () => {
  const { control, library } = fleet();
  const { home } = control;
  const [former = ''] = pemsIn(home, 'ca.crt');
  const { script, started, open } = gate();
  fleet().agent('web-01').script('gate', script);
  (await fleet().up('web-01')).child.kill('SIGHUP');
  expect(await ran(library, 'web-01', 'hello')).toMatchObject({ exit: 0 });
  const slow = library.run({ hosts: ['web-01'], script: 'gate' });
  await started();
  await fleet().down('db-01');

  const rotated = await control.command('rotate-ca');
  expect(rotated.code).toBe(1);
  expect(rotated.stderr).toBe('');
  const said = /^CA SHA-256 fingerprint: ([0-9A-F:]{95})$/m.exec(rotated.stdout)?.[1];
  const cas = pemsIn(home, 'ca.crt');
  expect(cas).toHaveLength(2);
  const [current = '', previous = ''] = cas;
  expect(fingerprint(current)).toBe(said);
  expect(fingerprint(previous)).toBe(fingerprint(former));
  expect((await control.command('ca-fingerprint')).stdout).toContain(said);
  expect(rotated.stdout).toMatch(/^ {2}renewed web-01$/m);
  expect(rotated.stdout).toMatch(/^ {2}failed db-01: .*nothing listens/m);
  expect(rotated.stdout).toMatch(/^1 agent with a certificate of the former CA: db-01 /m);

  // The one that serves has everything, on a running process, and what was under way goes on.
  const web = fleet().agent('web-01');
  expect(pemsIn(web.home, 'ca.crt')).toHaveLength(2);
  expect(issuedBy(certificate('web-01'), current)).toBe(true);
  expect(issuedBy(readFileSync(join(home, 'ctrl-exec.crt'), 'utf8'), current)).toBe(true);
  expect(await ran(library, 'web-01', 'hello')).toMatchObject({ exit: 0 });

  // A host that pairs meanwhile.
  await fleet().add('new-01');
  await fleet().up('new-01');
  expect(issuedBy(certificate('new-01'), current)).toBe(true);
  expect(await control.command('run', 'new-01', 'web-01', 'hello')).toMatchObject({ code: 0 });

  // Once more is no second one.
  expect(value(await library.rotateCa())).toMatchObject({ remaining: ['db-01'] });
  expect(pemsIn(home, 'ca.crt')).toEqual(cas);

  // The one that was away comes back by itself.
  await fleet().up('db-01');
  expect(issuedBy(certificate('db-01'), former)).toBe(true);
  const back = await control.command('run', 'db-01', 'hello');
  expect(back, back.stdout).toMatchObject({ code: 0 });
  const maintained = await control.command('maintain', '--json');
  expect(maintained).toMatchObject({ code: 0, stderr: '' });
  expect(JSON.parse(maintained.stdout)).toMatchObject({ renewed: ['db-01'], failed: [], caRetired: false });
  expect(issuedBy(certificate('db-01'), current)).toBe(true);
  open();
  expect(value(await slow).results).toMatchObject([{ exit: 0, stdout: 'done\n' }]);

  // The identity of before is of the former CA: that goes when the overlap has ended.
  backdateSwitch(control, 2);
  const retired = await control.command('maintain');
  expect(retired).toMatchObject({ code: 0, stderr: '' });
  expect(retired.stdout).toMatch(/^The former CA is not accepted any more$/m);
  expect(existsSync(join(home, 'ca-previous.key'))).toBe(false);
  expect(existsSync(join(home, 'ctrl-exec-previous.key'))).toBe(false);
  const everybody = ['web-01', 'db-01', 'new-01'];
  const holders = [home, ...everybody.map((name) => fleet().agent(name).home)];
  for (const holder of holders) expect(pemsIn(holder, 'ca.crt')).toEqual([current]);
  expect(value(await library.run({ hosts: everybody, script: 'hello' })).results).toMatchObject(
    everybody.map(() => ({ exit: 0 })),
  );
  // All of it is on disk.
  await Promise.all(
    ['web-01', 'db-01'].map(async (name) => {
      await fleet().down(name, 'SIGKILL');
      await fleet().up(name);
    }),
  );
  expect(await control.command('ping', ...everybody)).toMatchObject({ code: 0 });
  expect(new Set(everybody.map((name) => identityOf(fleet().agent(name)).serial)).size).toBe(3);

  if (noOpenssl.missing) return;
  const ca = join(home, 'ca.crt');
  const own = ['ctrl-exec.crt', 'pairing.crt'].map((file) => join(home, file));
  const agents = everybody.map((name) => join(fleet().agent(name).home, 'agent.crt'));
  const verified = openssl(['verify', '-x509_strict', '-CAfile', ca, ...own, ...agents]).text;
  for (const path of [...own, ...agents]) expect(verified).toContain(`${path}: OK`);
});
