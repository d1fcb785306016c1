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
