import { describe, expect, it, vi } from 'vitest';
import { certificateId } from '../../../../../src/domain/deploy/certificate-id.js';
import { value } from '../../../../contract/result.js';
import { pullWorld } from '../../../../support/deployment/pull-world.js';
import { eventsOf } from '../../../../support/fleet/events.js';

type World = Awaited<ReturnType<typeof pullWorld>>;

const failing = (id: string) => ({ id, type: 'Deployment', status: 'Pending', certificate_id: '..' });
const polls = (world: World) => world.times.filter(({ path }) => path.endsWith('/work')).map(({ at }) => at);

describe('after a poll that brought jobs', () => {
  it('the next one follows as soon as they are done, ten times in a row, and then at its time', async () => {
    const world = await pullWorld();
    let made = 0;
    world.plane.answer = ({ path }) => {
      if (!path.endsWith('/work')) return undefined;
      made += 1;
      return { status: 200, body: { jobs: [failing(`job-${made}`)] } };
    };
    const running = world.run();
    await world.clock.advance(60_000);
    world.stop.abort();
    await world.clock.advance(0);
    await running;
    const [first = 0] = polls(world);
    const atOnce = polls(world).filter((at) => at === first);
    expect(atOnce).toHaveLength(11);
    const next = polls(world)[11] ?? 0;
    expect(next - first).toBeGreaterThanOrEqual(27_000);
  });

  it('the next one comes at its time where they are not done, and does not wait for them', async () => {
    const world = await pullWorld();
    world.plane.jobs = [failing('job-1')];
    world.plane.answer = ({ path }) => (path.endsWith('/status') ? 'silence' : undefined);
    const running = world.run();
    await world.clock.advance(120_000);
    expect(polls(world).length).toBeGreaterThanOrEqual(3);
    world.stop.abort();
    await world.clock.advance(10_000);
    expect((await running).reason).toBe('stopped');
  });

  it('--once goes on polling until nothing is left to do, ten times at most', async () => {
    const world = await pullWorld();
    let made = 0;
    const answers = (jobs: number) => {
      made = 0;
      world.plane.answer = ({ path }) => {
        if (!path.endsWith('/work')) return undefined;
        made += 1;
        return { status: 200, body: { jobs: made <= jobs ? [failing(`job-${made}`)] : [] } };
      };
    };
    answers(2);
    await world.run(true);
    expect(polls(world)).toHaveLength(3);
    answers(100);
    await world.run(true);
    expect(polls(world)).toHaveLength(3 + 11);
  });
});

/** Milliseconds between two looks of the control plane at the jobs that wait. */
const tick = 30_000;

it('12 renewals one after the other all arrive, although what waits at a tick of the control plane is never handed out', async () => {
  const world = await pullWorld();
  const { clock, plane } = world;
  const config = { ...world.target.config, post_deploy_verify: undefined };
  const tickOf = (at: number) => Math.floor(at / tick);
  let renewed = 0;
  let waiting: { readonly job: object; readonly since: number } | undefined;
  let lost = 0;
  let last = Number.NEGATIVE_INFINITY;
  let handedOut: string | undefined;
  const ended = () =>
    world
      .to('/status')
      .map(({ body }) => body?.['status'])
      .filter((each) => each !== 'Running');
  const certificate = () => `mc-${renewed + 1}`;
  plane.answer = async ({ path, body }) => {
    if (path.endsWith('/csr')) {
      const csr = value(await world.context.certificateRequests.read(String(body?.['csr_pem'])));
      const name = certificate();
      const issued = await world.ca.issue({ spki: csr.spki, commonName: name, dnsNames: [`${name}.test`] });
      plane.certificates.set(name, issued.certificate + world.ca.pem);
      const target = { target_id: 't-1', target_type: 'NGINX', target_config: config };
      const job = { id: `deploy-${name}`, type: 'Deployment', certificate_id: name, ...target };
      waiting = { job, since: clock.monotonic() };
      handedOut = undefined;
      return { status: 202 };
    }
    if (path.endsWith('/status') && body?.['status'] !== 'Running') {
      handedOut = undefined;
      renewed += 1;
      last = clock.monotonic();
    }
    if (!path.endsWith('/work')) return undefined;
    if (waiting && tickOf(waiting.since) !== tickOf(clock.monotonic())) {
      waiting = undefined;
      lost += 1;
      renewed += 1;
    }
    const name = certificate();
    const asked = { id: `csr-${name}`, type: 'Renewal', certificate_id: name, common_name: `${name}.test` };
    const job = waiting?.job ?? { ...asked, status: 'AwaitingCSR' };
    const isWaiting = waiting !== undefined;
    waiting = undefined;
    // A tick begins the next renewal.
    if (!isWaiting && (renewed === 12 || tickOf(last) === tickOf(clock.monotonic())))
      return { status: 200, body: { jobs: [] } };
    handedOut = name;
    return { status: 200, body: { jobs: [job] } };
  };
  const running = world.run();
  // No time passes while the agent works: keys are made in real time.
  while (renewed < 12) {
    await clock.advance(handedOut === undefined && !waiting ? 1000 : 0);
    await new Promise((resolve) => setImmediate(resolve));
    if (waiting && handedOut === undefined) await clock.advance(100);
  }
  world.stop.abort();
  await clock.advance(0);
  await running;
  expect({ ended: ended(), lost }).toEqual({ ended: Array(12).fill('Completed'), lost: 0 });
});

it.each([
  [401, 'CERTCTL_API_KEY'],
  [403, 'the role of the API key'],
])('a refusal with %i says what to do', async (status, said) => {
  const world = await pullWorld();
  world.plane.answer = () => ({ status, body: 'no' });
  await world.run(true);
  for (const action of ['heartbeat-failed', 'poll-failed'] as const)
    expect(eventsOf(world.events, action).map(({ fields }) => fields.reason)).toEqual([
      expect.stringContaining(said),
    ]);
});

it('a list of jobs that is too long is said once, and not all of it is looked at', async () => {
  const world = await pullWorld();
  const jobs = Array.from({ length: 10_050 }, (_, each) => ({ id: `job-${each}`, type: 'Dance' }));
  let answers = 0;
  world.plane.answer = ({ path }) => {
    if (!path.endsWith('/work') || answers++ > 1) return undefined;
    return { status: 200, body: { jobs: [failing(`bad-${answers}`), ...jobs] } };
  };
  await world.run(true);
  expect(eventsOf(world.events, 'jobs-left').map(({ fields }) => fields)).toEqual([
    { taken: 10_000, left: 51 },
  ]);
});

it('the API key is in no event and in no report, wherever the control plane puts it', async () => {
  const key = 'top-secret-key';
  const world = await pullWorld({ variables: { CERTCTL_LOG_LEVEL: 'debug' } });
  const job = { id: 'job-1', type: 'Deployment', status: 'Pending', certificate_id: 'mc-1' };
  world.plane.jobs = [
    { ...job, id: key },
    { ...job, id: 'a', certificate_id: key },
    { ...job, id: 'b', certificate_id: `../${key}` },
    { ...job, id: 'c', target_type: key, target_id: key },
    { ...job, id: 'd', target_type: 'NGINX', target_config: { reload_command: key } },
    { ...job, id: 'e', type: key },
    { ...job, id: 'f', status: 'AwaitingCSR', common_name: `${key}\n` },
    { ...job, id: 'g', status: 'AwaitingCSR', common_name: 'x', sans: [`${key} `] },
    { ...job, id: 'h', status: 'AwaitingCSR', certificate_id: key, common_name: '' },
  ];
  const id = value(certificateId('mc-1'));
  world.plane.certificates.set('mc-1', world.target.deployment.certificatePem);
  world.keys.present.set(id, world.target.deployment.keyPem);
  await world.run(true);
  expect(eventsOf(world.events, 'job-failed').length).toBeGreaterThan(6);
  expect(JSON.stringify(world.events.events)).not.toContain(key);
  expect(JSON.stringify(world.to('/status').map(({ body }) => body))).not.toContain(key);
});

it('a control plane that takes no verification of this key is named once, with the permission', async () => {
  const world = await pullWorld();
  const { deployment, config } = world.target;
  world.plane.certificates.set('mc-1', deployment.certificatePem);
  world.keys.present.set(value(certificateId('mc-1')), deployment.keyPem);
  const observed = { ...config, post_deploy_verify: undefined, host: 'localhost' };
  const job = (each: number) => ({
    id: `job-${each}`,
    type: 'Deployment',
    certificate_id: 'mc-1',
    target_id: `t-${each}`,
    target_type: 'NGINX',
    target_config: { ...observed, cert_path: `/etc/tls/cert-${each}.pem` },
  });
  world.plane.jobs = [job(1), job(2)];
  world.plane.answer = ({ path }) => (path.endsWith('/verify') ? { status: 403, body: 'no' } : undefined);
  const running = world.run(true);
  let over = false;
  void running.then(() => {
    over = true;
  });
  await vi.waitFor(async () => {
    await world.clock.advance(1000);
    expect(over).toBe(true);
  });
  expect(world.to('/verify')).toHaveLength(2);
  const failed = eventsOf(world.events, 'job-report-failed').map(({ fields }) => fields.reason);
  expect(failed).toEqual([expect.stringContaining('lacks the permission verification.run')]);
  expect(world.to('/status').map(({ body }) => body?.['status'])).toEqual([
    'Running',
    'Running',
    'Completed',
    'Completed',
  ]);
});

it('while more jobs wait than are done at a time nothing more is asked for', async () => {
  const world = await pullWorld();
  world.plane.jobs = Array.from({ length: 200 }, (_, each) => failing(`job-${each}`));
  world.plane.answer = ({ path }) => (path.endsWith('/status') ? 'silence' : undefined);
  const running = world.run();
  await world.clock.advance(300_000);
  expect(polls(world)).toHaveLength(1);
  world.stop.abort();
  await world.clock.advance(10_000);
  expect((await running).reason).toBe('stopped');
});
