import { createPrivateKey, createPublicKey } from 'node:crypto';
import { describe, expect, it, vi } from 'vitest';
import { x509CertificateRequests } from '../../../../../src/adapters/x509/certificate-requests.js';
import { certificateId } from '../../../../../src/domain/deploy/certificate-id.js';
import { value } from '../../../../contract/result.js';
import { pullWorld } from '../../../../support/deployment/pull-world.js';
import { eventsOf } from '../../../../support/fleet/events.js';

type World = Awaited<ReturnType<typeof pullWorld>>;

const id = value(certificateId('mc-1'));
const csrJob = (more: object = {}) => ({
  id: 'job-1',
  type: 'Issuance',
  status: 'AwaitingCSR',
  certificate_id: 'mc-1',
  common_name: 'www.test',
  sans: ['www.test', '192.0.2.1', 'a@test'],
  ...more,
});
const spkiOf = (keyPem: string) =>
  new Uint8Array(createPublicKey(createPrivateKey(keyPem)).export({ type: 'spki', format: 'der' }));
const csrs = (world: World) => world.to('/csr').map(({ body }) => String(body?.['csr_pem']));
const statuses = (world: World, job: string) =>
  world.to(`/jobs/${job}/status`).map(({ body }) => [body?.['status'], body?.['error']]);

/** Has the control plane issue a certificate over the last CSR. */
async function issue(world: World) {
  const spki = value(await x509CertificateRequests().read(csrs(world).at(-1) ?? '')).spki;
  const { certificate } = await world.ca.issue({ spki, commonName: 'www.test' });
  world.plane.certificates.set('mc-1', certificate + world.ca.pem);
}

describe('a CSR job', () => {
  it('puts a key in place, and sends a CSR over it', async () => {
    const world = await pullWorld();
    world.plane.jobs = [csrJob()];
    await world.run(true);
    const key = world.keys.present.get(id) ?? '';
    expect(key).toMatch(/^-----BEGIN EC PRIVATE KEY-----\n/);
    const [csr = ''] = csrs(world);
    expect(value(await x509CertificateRequests().read(csr)).spki).toEqual(spkiOf(key));
    expect(world.to('/csr')[0]?.body).toEqual({ csr_pem: csr, certificate_id: 'mc-1' });
    expect(statuses(world, 'job-1')).toEqual([]);
    expect(JSON.stringify([world.calls, world.events.events])).not.toContain('PRIVATE KEY');
  });

  it('keeps the key as long as no certificate over it was issued, and then makes another', async () => {
    const world = await pullWorld();
    world.plane.jobs = [csrJob()];
    await world.run(true);
    const first = world.keys.present.get(id);
    world.plane.certificates.set('mc-1', (await world.ca.issue()).certificate);
    for (const answer of [undefined, { status: 500 }, 'unreachable'] as const) {
      world.plane.answer = ({ path }) => (path.endsWith('/certificates/mc-1') ? answer : undefined);
      await world.run(true);
      expect(world.keys.present.get(id)).toBe(first);
    }
    world.plane.answer = () => undefined;
    await issue(world);
    await world.run(true);
    expect(world.keys.present.get(id)).not.toBe(first);
    expect(world.keys.former.get(id)).toBe(first);
    const origins = eventsOf(world.events, 'csr-submitted').map(({ fields }) => fields.key);
    expect(origins).toEqual(['new', 'kept', 'kept', 'kept', 'new']);
  });

  it('replaces a key that is no P-256 key, and keeps that as the former one', async () => {
    const world = await pullWorld();
    const rsa = value(await world.context.crypto.generateKey('rsa2048'));
    world.keys.present.set(id, rsa);
    world.plane.jobs = [csrJob()];
    await world.run(true);
    expect(world.keys.present.get(id)).toMatch(/EC PRIVATE KEY/);
    expect(world.keys.former.get(id)).toBe(rsa);
  });

  it.each([
    ['../../etc/passwd', 'certificate id: '],
    ['/etc/passwd', 'certificate id: '],
    ['a\0b', 'certificate id: '],
    ['x'.repeat(129), 'certificate id: '],
  ])('for %j fails, and nothing is written', async (certificate_id, step) => {
    const world = await pullWorld();
    world.plane.jobs = [csrJob({ certificate_id })];
    await world.run(true);
    const [[status, error] = []] = statuses(world, 'job-1');
    expect(status).toBe('Failed');
    expect(String(error).startsWith(step)).toBe(true);
    expect(world.keys.present.size).toBe(0);
    expect(world.to('/csr')).toEqual([]);
  });

  it.each([
    [{ common_name: '' }, 'subject: empty common name'],
    [{ common_name: undefined }, 'subject: empty common name'],
    [{ sans: [''] }, 'subject: name'],
    [{ sans: 'www.test' }, 'malformed job: member "sans"'],
  ])('with %j fails with the step in front, and nothing is written', async (more, reason) => {
    const world = await pullWorld();
    world.plane.jobs = [csrJob(more)];
    await world.run(true);
    expect(statuses(world, 'job-1')).toEqual([['Failed', expect.stringContaining(reason)]]);
    expect(world.keys.present.size).toBe(0);
  });

  it('that is refused fails with what the control plane said', async () => {
    const world = await pullWorld();
    world.plane.jobs = [csrJob()];
    world.plane.answer = ({ path }) => (path.endsWith('/csr') ? { status: 422, body: 'policy' } : undefined);
    await world.run(true);
    expect(statuses(world, 'job-1')).toEqual([
      ['Failed', 'CSR submission: the control plane answered with status 422: policy'],
    ]);
  });
});

describe('a deployment job', () => {
  const ready = async () => {
    const world = await pullWorld();
    const { deployment, config } = world.target;
    world.plane.certificates.set('mc-1', deployment.certificatePem);
    world.keys.present.set(id, deployment.keyPem);
    const job = {
      id: 'job-2',
      type: 'Deployment',
      status: 'Pending',
      certificate_id: 'mc-1',
      target_id: 't-1',
      target_type: 'NGINX',
      target_config: config,
    };
    world.plane.jobs = [job];
    /** One round, its waits moved on. */
    const run = async () => {
      const running = world.run(true);
      for (let step = 0; step < 40; step += 1) await world.clock.advance(1000);
      return running;
    };
    return { world, job, run };
  };

  it('is reported as running, done, verified and completed', async () => {
    const { world, run } = await ready();
    await run();
    expect(statuses(world, 'job-2')).toEqual([
      ['Running', undefined],
      ['Completed', undefined],
    ]);
    const fresh = world.target.fresh.certificate;
    expect(world.target.text('/etc/tls/cert.pem')).toContain(fresh.trim());
    expect(world.to('/api/v1/jobs/job-2/verify').map(({ body }) => body)).toEqual([
      {
        target_id: 't-1',
        expected_fingerprint: world.target.server.served,
        actual_fingerprint: world.target.server.served,
        verified: true,
        error: '',
      },
    ]);
    const order = world.calls.map(({ path }) => path.split('/').at(-1));
    expect(order).toEqual(['heartbeat', 'work', 'status', 'mc-1', 'verify', 'status', 'work']);
  });

  it('takes the former key where the certificate is over that, and forgets it when it is not needed any more', async () => {
    const { world, run } = await ready();
    const { keyPem } = world.target.deployment;
    const next = value(await world.context.crypto.generateKey('p256', 'sec1'));
    world.keys.present.set(id, next);
    world.keys.former.set(id, keyPem);
    await run();
    expect(statuses(world, 'job-2').at(-1)).toEqual(['Completed', undefined]);
    expect(world.keys.former.get(id)).toBe(keyPem);
    world.keys.present.set(id, keyPem);
    world.keys.former.set(id, next);
    await run();
    expect(world.keys.former.has(id)).toBe(false);
  });

  it('without a key, or with one of another certificate, fails and touches nothing', async () => {
    for (const key of [undefined, (await (await ready()).world.ca.issue()).key]) {
      const { world, run } = await ready();
      world.keys.present.clear();
      if (key !== undefined) world.keys.present.set(id, key);
      await run();
      expect(statuses(world, 'job-2')).toEqual([
        ['Running', undefined],
        ['Failed', expect.stringMatching(/^private key: .*mc-1/)],
      ]);
      expect(world.target.server.commands).toEqual([]);
    }
  });

  it('for a target that is not known fails and says what is supported', async () => {
    const { world, job, run } = await ready();
    world.plane.jobs = [{ ...job, target_type: 'F5' }];
    await run();
    expect(statuses(world, 'job-2').at(-1)).toEqual([
      'Failed',
      expect.stringMatching(/deployment: unsupported target type: F5.*NGINX/),
    ]);
  });

  it('that is rolled back fails, and the control plane gets the handshake that showed it', async () => {
    const { world, run } = await ready();
    world.target.server.stuckAt = 'ab'.repeat(32);
    await run();
    expect(statuses(world, 'job-2').at(-1)?.[0]).toBe('Failed');
    expect(world.to('/verify').map(({ body }) => [body?.['verified'], body?.['actual_fingerprint']])).toEqual(
      [[false, 'ab'.repeat(32)]],
    );
    expect(world.target.text('/etc/tls/cert.pem')).toContain(world.target.old.certificate.trim());
  });

  it('is done though its beginning could not be reported, and its end is reported again and again', async () => {
    const { world, run } = await ready();
    let refusals = 3;
    world.plane.answer = ({ path }) =>
      path.endsWith('/status') && refusals-- > 0 ? { status: 503 } : undefined;
    await run();
    expect(statuses(world, 'job-2').map(([status]) => status)).toEqual([
      'Running',
      'Completed',
      'Completed',
      'Completed',
    ]);
  });
});

describe('an agent that is to end', () => {
  it('tells how a deployment ended, however long that took', async () => {
    const world = await pullWorld();
    let release: () => void = () => undefined;
    const held = new Promise<undefined>((resolve) => {
      release = () => resolve(undefined);
    });
    world.plane.certificates.set('mc-1', world.target.deployment.certificatePem);
    world.keys.present.set(id, world.target.deployment.keyPem);
    world.plane.jobs = [{ id: 'job-2', type: 'Deployment', certificate_id: 'mc-1', target_type: 'NGINX' }];
    world.plane.answer = ({ path }) => (path.endsWith('/certificates/mc-1') ? held : undefined);
    const running = world.run(true);
    await world.clock.advance(0);
    world.stop.abort();
    await world.clock.advance(60_000);
    release();
    await world.clock.advance(0);
    expect((await running).reason).toBe('stopped');
    expect(statuses(world, 'job-2').map(([status]) => status)).toEqual(['Running', 'Failed']);
  });

  it('waits five seconds for a control plane that takes no leave', async () => {
    const world = await pullWorld();
    world.plane.jobs = [csrJob({ common_name: '' })];
    world.plane.answer = ({ path }) => (path.endsWith('/status') ? 'silence' : undefined);
    const running = world.run(true);
    let ended = false;
    void running.then(() => {
      ended = true;
    });
    await world.clock.advance(0);
    world.stop.abort();
    await world.clock.advance(4_999);
    expect(ended).toBe(false);
    await world.clock.advance(1);
    expect((await running).reason).toBe('stopped');
  });
});

describe('jobs of one answer', () => {
  it('one that is bad does not keep the others from being done', async () => {
    const world = await pullWorld();
    world.plane.jobs = [
      { id: 7 },
      csrJob({ id: 'bad', sans: 7 }),
      { id: 'strange', type: 'Dance', status: 'Pending' },
      csrJob({ id: 'good' }),
    ];
    await world.run(true);
    expect(world.to('/csr')).toHaveLength(1);
    expect(statuses(world, 'bad')).toEqual([['Failed', expect.stringContaining('sans')]]);
    expect(eventsOf(world.events, 'job-ignored').map(({ fields }) => fields.job)).toEqual(['', 'strange']);
  });

  it('a job that is offered again while it runs is not begun again', async () => {
    const world = await pullWorld();
    let release: () => void = () => undefined;
    const held = new Promise<undefined>((resolve) => {
      release = () => resolve(undefined);
    });
    world.plane.jobs = [csrJob()];
    world.plane.answer = ({ path }) => (path.endsWith('/csr') ? held : undefined);
    const running = world.run();
    await world.clock.advance(60_000);
    // A key is made meanwhile, in real time.
    await vi.waitFor(() => expect(world.to('/csr')).toHaveLength(1));
    await world.clock.advance(200_000);
    expect(world.to('/work').length).toBeGreaterThan(4);
    expect(world.to('/csr')).toHaveLength(1);
    world.plane.jobs = [];
    release();
    world.stop.abort();
    await world.clock.advance(0);
    expect((await running).reason).toBe('stopped');
  });
});
