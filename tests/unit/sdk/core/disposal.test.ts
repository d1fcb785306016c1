import { errAsync } from 'neverthrow';
import { expect, it } from 'vitest';
import { failure } from '../../../../src/domain/core/errors.js';
import type { Mutex } from '../../../../src/ports/mutex.js';
import { value } from '../../../contract/result.js';
import { eventsOf } from '../../../support/fleet/events.js';
import { lifecycle } from '../../../support/fleet/lifecycle.js';
import { dispatcherOver } from '../../../support/fleet/memory-agents.js';
import { identifiedFleet, memoryFleet } from '../../../support/fleet/memory-fleet.js';

it('a dispatcher that is disposed of has closed its channel', async () => {
  const { context } = memoryFleet().dispatcher();
  let closed = 0;
  const channel = {
    ...context.channel,
    close: async () => {
      closed += 1;
    },
  };
  const dispatcher = dispatcherOver({ ...context, channel });
  value(await dispatcher.configuration());
  await dispatcher[Symbol.asyncDispose]();
  expect(closed).toBeGreaterThan(0);
});

it('an agent that is disposed of has closed its connections', async () => {
  const { agent, context } = memoryFleet().agent('web-01');
  let closed = 0;
  context.channel.close = async () => {
    closed += 1;
  };
  await agent[Symbol.asyncDispose]();
  expect(closed).toBe(1);
});

it('a serving agent that is disposed of refuses connections', async () => {
  const { control, host } = await lifecycle(['web-01']);
  const pinged = async () => value(await control.dispatcher.ping({ hosts: ['web-01'] })).results[0];
  expect(await pinged()).toMatchObject({ status: 'ok' });
  await (await host('web-01').up())[Symbol.asyncDispose]();
  expect(await pinged()).toMatchObject({ status: 'error' });
});

it('a pairing mode that is disposed of has closed its port, and another one can be opened', async () => {
  const { control } = await identifiedFleet();
  for (let time = 1; time <= 2; time += 1) {
    const mode = value(await control.dispatcher.openPairing());
    expect(await control.dispatcher.openPairing().mapErr(({ code }) => code)).toMatchObject({
      error: 'held',
    });
    await mode[Symbol.asyncDispose]();
    expect(eventsOf(control.events, 'pairing-mode-closed')).toHaveLength(time);
  }
});

it('where the store fails as a pairing mode is disposed of, that is thrown with the failure as its cause', async () => {
  const { control } = await identifiedFleet();
  const { context } = control;
  const broken = failure('store_failed', 'the disk is full', { operation: 'release', reason: 'ENOSPC' });
  const mutex: Mutex = {
    ...context.mutex,
    acquire: (name, now) =>
      context.mutex.acquire(name, now).map((held) => ({ ...held, release: () => errAsync(broken) })),
  };
  const dispatcher = dispatcherOver({ ...context, mutex });
  const mode = value(await dispatcher.openPairing());
  await expect(mode[Symbol.asyncDispose]()).rejects.toMatchObject({ message: broken.message, cause: broken });
});
