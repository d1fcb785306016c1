import { errAsync } from 'neverthrow';
import { beforeEach, describe, expect, it } from 'vitest';
import { failure as errorOf } from '../../../../../src/domain/core/errors.js';
import { setupDispatcher } from '../../../../../src/sdk/dispatcher/trust/setup.js';
import { failure, value } from '../../../../contract/result.js';
import { issueAgent, register, withPorts } from '../../../../support/fleet/memory-agents.js';
import {
  crypto,
  identify,
  type MemoryFleet,
  memoryFleet,
  type TestDispatcher,
} from '../../../../support/fleet/memory-fleet.js';

let fleet: MemoryFleet;
let control: TestDispatcher;

beforeEach(() => {
  fleet = memoryFleet();
  control = fleet.dispatcher();
});

const documents = async () =>
  value(
    await control.context.keyStore.read([
      'ca-key',
      'ca-certificate',
      'dispatcher-key',
      'dispatcher-certificate',
      'pairing-key',
      'pairing-certificate',
    ]),
  );

const configuration = async (context = control.context) =>
  value(await context.files.readText(context.configurationFile, 1e6));

describe('the CA', () => {
  it('is made once: a second call changes nothing', async () => {
    const made = value(await control.dispatcher.setupCa());
    expect(made.fingerprint).toMatch(/^([0-9A-F]{2}:){31}[0-9A-F]{2}$/);
    expect(made.notAfter - control.context.clock.now()).toBeGreaterThan(3650 * 86_400_000);
    const before = await documents();
    expect(failure(await control.dispatcher.setupCa()).code).toBe('ca_exists');
    expect(await documents()).toEqual(before);
    expect(value(await control.dispatcher.ca())).toEqual(made);
  });

  it('that is not there is an error of its own, and nothing is made in its place', async () => {
    for (const outcome of [await control.dispatcher.ca(), await control.dispatcher.setup()]) {
      const { code, message } = failure(outcome);
      expect(code).toBe('ca_missing');
      expect(message).toMatch(/: run `ctrl-exec setup-ca` first$/);
    }
    expect(Object.values(await documents()).filter((text) => text !== undefined)).toEqual([]);
  });
});

describe('the identity', () => {
  it('is a client certificate with the URI of the dispatcher, beside one for pairing with another key', async () => {
    const made = await identify(control);
    const read = await documents();
    const own = value(crypto.readCertificate(read['dispatcher-certificate'] ?? ''));
    const pairing = value(crypto.readCertificate(read['pairing-certificate'] ?? ''));
    const ca = value(crypto.readCertificate(read['ca-certificate'] ?? ''));
    expect(made).toMatchObject({ dispatcherId: 'control', serial: own.serial });
    expect(own).toMatchObject({ uris: ['ctrl-exec:dispatcher:control'], usages: ['clientAuth'] });
    expect(pairing).toMatchObject({ uris: ['ctrl-exec:pairing:control'], usages: ['serverAuth'] });
    expect(crypto.equal(own.spki, pairing.spki)).toBe(false);
    expect([own, pairing].every((certificate) => crypto.issuedBy(certificate, ca))).toBe(true);
    const days = (own.notAfter - control.context.clock.now()) / 86_400_000;
    expect(days).toBeGreaterThan(364.9);
    expect(days).toBeLessThanOrEqual(365.1);
    expect(own.notBefore).toBeLessThan(control.context.clock.now());
  });

  it('is of the configured key type and lifetime', async () => {
    control = fleet.dispatcher('c.test', 'key_type = ed25519\ncert_days = 10\n');
    await identify(control);
    const read = await documents();
    const own = value(crypto.readCertificate(read['dispatcher-certificate'] ?? ''));
    expect(value(crypto.signingKey(read['dispatcher-key'] ?? '')).algorithm).toBe('ed25519');
    expect((own.notAfter - control.context.clock.now()) / 86_400_000).toBeCloseTo(10, 1);
  });

  it('writes the dispatcher id into the configuration, below what stands there', async () => {
    await identify(control);
    expect(await configuration()).toMatch(/^dispatcher_id = control$/m);
    const other = fleet.dispatcher('c.test', '# ours\nread_timeout = 5\n');
    await identify(other);
    expect(await configuration(other.context)).toMatch(
      /^# ours\nread_timeout = 5\n[\s\S]*dispatcher_id = control$/m,
    );
  });

  it('leaves a configured dispatcher id as it is', async () => {
    const text = 'dispatcher_id = Ctl.1\n';
    const named = fleet.dispatcher('c.test', text);
    expect(await identify(named)).toMatchObject({ dispatcherId: 'Ctl.1' });
    expect(await configuration(named.context)).toBe(text);
  });

  it('is not replaced unless told to', async () => {
    await identify(control);
    const before = await documents();
    expect(failure(await control.dispatcher.setup())).toMatchObject({ code: 'identity_exists' });
    expect(await documents()).toEqual(before);
    const replaced = value(await control.dispatcher.setup({ replace: true }));
    const after = await documents();
    expect(after['dispatcher-key']).not.toBe(before['dispatcher-key']);
    expect(after['pairing-key']).not.toBe(before['pairing-key']);
    expect(after['ca-key']).toBe(before['ca-key']);
    const own = value(crypto.readCertificate(after['dispatcher-certificate'] ?? ''));
    expect(own.serial).toBe(replaced.serial);
  });

  it('is not replaced while agents are registered, not even with replace, only with force', async () => {
    await identify(control);
    await register(control, 'web-01', await issueAgent(control, 'web-01'));
    const before = await documents();
    for (const options of [{ replace: true }, {}, { force: true }]) {
      const refused = failure(await control.dispatcher.setup(options));
      expect(refused.code).toBe('identity_exists');
      expect(await documents()).toEqual(before);
    }
    const refused = failure(await control.dispatcher.setup({ replace: true }));
    expect(refused.message).toMatch(/use rotate-cert/);
    value(await control.dispatcher.setup({ replace: true, force: true }));
    expect((await documents())['dispatcher-key']).not.toBe(before['dispatcher-key']);
  });

  it('is not replaced when it cannot be known whether agents are registered', async () => {
    await identify(control);
    const before = await documents();
    const down = errorOf('store_failed', 'no store', { operation: 'open', reason: 'EACCES' });
    const { registry } = control.context;
    const context = withPorts(control, { registry: { ...registry, list: () => errAsync(down) } });
    expect(failure(await setupDispatcher(context, { replace: true }))).toEqual(down);
    expect(await documents()).toEqual(before);
  });

  it('that somebody else makes at the same moment is not overwritten', async () => {
    value(await control.dispatcher.setupCa());
    const both = await Promise.all([control.dispatcher.setup(), control.dispatcher.setup()]);
    expect(both.filter((outcome) => outcome.isOk()).length).toBe(1);
    const [made] = both.flatMap((outcome) => (outcome.isOk() ? [outcome.value] : []));
    const own = value(crypto.readCertificate((await documents())['dispatcher-certificate'] ?? ''));
    expect(own.serial).toBe(made?.serial);
  });
});
