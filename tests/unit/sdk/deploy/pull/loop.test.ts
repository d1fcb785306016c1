import { describe, expect, it } from 'vitest';
import { pullWorld } from '../../../../support/deployment/pull-world.js';
import { eventsOf } from '../../../../support/fleet/events.js';

type World = Awaited<ReturnType<typeof pullWorld>>;
const moments = ({ times }: World, end: string) =>
  times.filter(({ path }) => path.endsWith(end)).map(({ at }) => at);
const gaps = (times: readonly number[]) => times.slice(1).map((time, index) => time - (times[index] ?? 0));
const minutes = 60_000;

/** Stops the agent and waits for its end. */
async function stopped(world: World, running: Promise<unknown>) {
  world.stop.abort();
  await world.clock.advance(0);
  return running;
}

describe('the rhythm of a pull agent', () => {
  it('beats every minute and polls every half, a tenth more or less', async () => {
    const world = await pullWorld();
    const running = world.run();
    await world.clock.advance(60 * minutes);
    const [beats, polls] = [moments(world, '/heartbeat'), moments(world, '/work')];
    expect(beats[0]).toBeLessThan(60_000);
    expect(polls[0]).toBeLessThan(30_000);
    for (const gap of gaps(beats)) expect(Math.abs(gap - 60_000)).toBeLessThanOrEqual(6_000);
    for (const gap of gaps(polls)) expect(Math.abs(gap - 30_000)).toBeLessThanOrEqual(3_000);
    expect(new Set(gaps(polls)).size).toBeGreaterThan(50);
    expect(beats.length).toBeGreaterThan(54);
    expect(polls.length).toBeGreaterThan(109);
    expect(await stopped(world, running)).toEqual({ reason: 'stopped', failures: 0 });
  });

  it('a heartbeat tells what the host is', async () => {
    const world = await pullWorld();
    await world.run(true);
    expect(world.to('/heartbeat')).toEqual([
      {
        method: 'POST',
        path: '/api/v1/agents/a1/heartbeat',
        body: {
          version: '1.2.3',
          hostname: 'host-1',
          os: 'linux',
          architecture: 'amd64',
          ip_address: '192.0.2.7',
        },
      },
    ]);
  });

  it('after failures a poll waits longer each time, five minutes at most, and not any more after a success', async () => {
    const world = await pullWorld();
    world.plane.answer = () => 'unreachable';
    const running = world.run();
    await world.clock.advance(60 * minutes);
    const polls = gaps(moments(world, '/work'));
    // Heartbeats fail meanwhile, too.
    expect(polls[0]).toBeGreaterThan(30_000 + 27_000);
    for (const gap of polls.slice(-5)) expect(gap).toBeGreaterThanOrEqual(327_000);
    for (const gap of polls) expect(gap).toBeLessThanOrEqual(333_000);
    for (const gap of gaps(moments(world, '/heartbeat'))) expect(gap).toBeLessThanOrEqual(66_000);

    world.plane.answer = () => undefined;
    await world.clock.advance(7 * minutes);
    const before = moments(world, '/work').length;
    await world.clock.advance(10 * minutes);
    expect(moments(world, '/work').length - before).toBeGreaterThanOrEqual(18);
    expect(eventsOf(world.events, 'control-plane-back')).toHaveLength(1);
    await stopped(world, running);
  });

  it.each([
    ['unreachable' as const],
    [{ status: 500 }],
    [{ status: 401, body: 'no' }],
    [{ status: 200, body: 'no JSON' }],
  ])('a poll that is answered with %j has failed', async (answer) => {
    const world = await pullWorld();
    world.plane.answer = ({ path }) => (path.endsWith('/work') ? answer : undefined);
    expect(await world.run(true)).toEqual({ reason: 'once', failures: 1 });
    expect(eventsOf(world.events, 'poll-failed')).toMatchObject([{ fields: { failures: 1, backoff: 30 } }]);
  });

  it('it ends at once in the middle of a wait, and of a call', async () => {
    const waiting = await pullWorld();
    const first = waiting.run();
    await waiting.clock.advance(0);
    expect(await stopped(waiting, first)).toEqual({ reason: 'stopped', failures: 0 });
    expect(waiting.calls).toEqual([]);

    const calling = await pullWorld();
    calling.plane.answer = () => 'silence';
    const second = calling.run();
    await calling.clock.advance(2 * minutes);
    expect(calling.calls).toHaveLength(2);
    expect(await stopped(calling, second)).toEqual({ reason: 'stopped', failures: 0 });
  });

  it('the API key is in no event, also when the control plane repeats it', async () => {
    const world = await pullWorld({ variables: { CERTCTL_LOG_LEVEL: 'debug' } });
    world.plane.jobs = [{ id: 'j', type: 'Deployment', certificate_id: 'mc-1', status: 'Pending' }];
    world.plane.answer = ({ path }) =>
      /status$|heartbeat$|certificates/.test(path)
        ? { status: 403, body: 'bad key top-secret-key' }
        : undefined;
    await world.run(true);
    expect(world.events.events.length).toBeGreaterThan(4);
    expect(JSON.stringify(world.events.events)).not.toContain('top-secret');
    expect(JSON.stringify(world.calls)).not.toContain('top-secret');
  });

  it('what is less urgent than the level is not logged', async () => {
    const actions = async (level: string) => {
      const world = await pullWorld({ variables: { CERTCTL_LOG_LEVEL: level } });
      world.plane.answer = ({ path }) => (path.endsWith('/work') ? { status: 500 } : undefined);
      await world.run(true);
      return world.events.events.map(({ action }) => action);
    };
    expect(await actions('debug')).toEqual(['pull-started', 'heartbeat-sent', 'poll-failed', 'pull-stopped']);
    expect(await actions('info')).toEqual(['pull-started', 'poll-failed', 'pull-stopped']);
    expect(await actions('warn')).toEqual(['poll-failed']);
    expect(await actions('error')).toEqual([]);
  });
});

describe('an agent that was retired', () => {
  it.each(['heartbeat', 'work'])('learns it by a %s, says it once and ends', async (call) => {
    const world = await pullWorld();
    const gone = { status: 410, body: '{"error":"retired\\n"}' };
    world.plane.answer = ({ path }) => (path.endsWith(call) ? gone : undefined);
    const running = world.run();
    await world.clock.advance(2 * minutes);
    expect(await running).toEqual({ reason: 'retired', failures: 0 });
    expect(eventsOf(world.events, 'agent-retired')).toEqual([
      {
        action: 'agent-retired',
        level: 'error',
        fields: {
          source: call === 'work' ? 'work_poll' : 'heartbeat',
          status: 410,
          body: '{"error":"retired\\n"}',
        },
      },
    ]);
    const before = world.calls.length;
    await world.clock.advance(10 * minutes);
    expect(world.calls).toHaveLength(before);
  });

  it('finishes what runs, and begins nothing that waits', async () => {
    const world = await pullWorld();
    let release: (() => void) | undefined;
    const job = (id: string) => ({
      id,
      type: 'Deployment',
      status: 'Pending',
      certificate_id: id,
      target_id: 't',
      target_type: 'NGINX',
    });
    world.plane.jobs = [job('one'), job('two')];
    const held = new Promise<undefined>((resolve) => {
      release = () => resolve(undefined);
    });
    world.plane.answer = ({ path }) => (path.endsWith('/certificates/one') ? held : undefined);
    const running = world.run();
    await world.clock.advance(1 * minutes);
    world.plane.answer = ({ path }) => (path.endsWith('/work') ? { status: 410 } : undefined);
    await world.clock.advance(1 * minutes);
    release?.();
    await world.clock.advance(2 * minutes);
    expect((await running).reason).toBe('retired');
    expect(world.to('/jobs/one/status').map(({ body }) => body?.['status'])).toEqual(['Running', 'Failed']);
    expect(world.to('/jobs/two/status')).toEqual([]);
  });
});
