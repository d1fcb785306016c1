import { describe, expect, it } from 'vitest';
import { value } from '../../../../contract/result.js';
import {
  type Control,
  day,
  identityOf,
  lifecycle,
  paired,
  pingFails,
  runFails,
} from '../../../../support/fleet/lifecycle.js';
import { dispatcherOver, withPorts } from '../../../../support/fleet/memory-agents.js';

/** The dispatcher while its own clock, and no other, is ahead. */
const ahead = (control: Control, days: number) => {
  const { clock } = control.context;
  return withPorts(control, { clock: { ...clock, now: () => clock.now() + days * day } });
};

/** It took itself for expired, replaced its identity and gave up the one before; then its clock was set right. */
async function rotatedByWrongClock() {
  const world = await lifecycle(['web']);
  const { control } = world;
  expect(await pingFails(control, 'web')).toBeUndefined();
  for (const days of [1000, 1100]) {
    const { stale } = value(await dispatcherOver(ahead(control, days)).maintain());
    expect(stale).toEqual(days === 1000 ? [] : ['web']);
  }
  return world;
}

describe('a dispatcher whose clock was ahead', () => {
  it('says what to do, in that order', async () => {
    const { control } = await rotatedByWrongClock();
    expect(await runFails(control, 'web')).toMatch(
      /^the certificate of this dispatcher cannot be used: not valid before .*: see that the clock .* is right, run `ctrl-exec rotate-cert`, then `ctrl-exec readmit NAME` for an agent/,
    );
  });

  it.each(['maintain', 'rotate'] as const)('comes back by %s, and stale agents follow', async (by) => {
    const { control } = await rotatedByWrongClock();
    const done = value<unknown>(await control.dispatcher[by]());
    expect(by === 'rotate' ? done : (done as { rotation: unknown }).rotation).toMatchObject({
      state: 'switched',
    });
    expect(await runFails(control, 'web')).toBeUndefined();
    expect(value(await control.dispatcher.serialStatus()).agents).toMatchObject([{ state: 'current' }]);
  });

  it('does not take a next identity into use that was announced by then', async () => {
    const { control } = await lifecycle(['web']);
    expect(await pingFails(control, 'web')).toBeUndefined();
    // Agents refuse it, and it is not urgent yet.
    expect(value(await dispatcherOver(ahead(control, 300)).rotate()).state).toBe('waiting');
    expect(value(await control.dispatcher.rotate()).state).toBe('switched');
    const { certificate } = await identityOf(control);
    expect(certificate.notBefore).toBeLessThan(control.context.clock.now());
    expect(await runFails(control, 'web')).toBeUndefined();
  });

  it('is told of readmit for an agent that was paired by then, and that brings it back', async () => {
    const { control, host } = await lifecycle(['web']);
    await paired({ ...control, context: ahead(control, 400) }, host('web'));
    await host('web').restart();
    expect(await runFails(control, 'web')).toMatch(
      /^the certificate of web cannot be used: not valid before .*: where the clock of this host is right, `ctrl-exec readmit web` renews it once$/,
    );
    value(await control.dispatcher.readmit('web'));
    expect(await runFails(control, 'web')).toBeUndefined();
  });
});
