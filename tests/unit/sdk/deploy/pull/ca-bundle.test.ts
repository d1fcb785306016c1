import { expect, it } from 'vitest';
import { pullWorld } from '../../../../support/deployment/pull-world.js';
import { eventsOf } from '../../../../support/fleet/events.js';

it('a pull agent does not start with a CA bundle that somebody else can change, and nothing is sent', async () => {
  for (const variable of ['CERTCTL_SERVER_CA_BUNDLE_PATH', 'SSL_CERT_FILE'])
    for (const fault of [{ mode: 0o664 }, { mode: 0o646 }, { mode: 0o644, uid: 7 }]) {
      const world = await pullWorld({ variables: { [variable]: '/ca.pem' } });
      world.files.files.set('/ca.pem', { bytes: new Uint8Array(), ...fault });
      await expect(world.run(true)).rejects.toThrow(
        /^not trusted: \/ca\.pem .*ch(mod go-w|own root) \/ca\.pem$/,
      );
      expect(world.times).toEqual([]);
    }
});

it('is warned of a CA bundle of somebody else where file_trust is warn', async () => {
  const world = await pullWorld({
    variables: { CERTCTL_SERVER_CA_BUNDLE_PATH: '/ca.pem' },
    conf: 'file_trust = warn\n',
  });
  world.files.files.set('/ca.pem', { bytes: new Uint8Array(), mode: 0o644, uid: 7 });
  await world.run(true);
  const reasons = eventsOf(world.events, 'warning').map(({ fields }) => fields.reason);
  expect(reasons).toEqual(['/ca.pem belongs to uid 7, expected root: chown root /ca.pem']);
});
