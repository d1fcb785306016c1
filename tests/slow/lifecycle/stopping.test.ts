import type { ResultAsync } from 'neverthrow';
import { describe, expect, it } from 'vitest';
import type { CtrlExecError } from '../../../src/domain/core/errors.js';
import { failure, value } from '../../contract/result.js';
import {
  type Control,
  day,
  identityOf,
  lifecycle,
  pingFails,
  runFails,
} from '../../support/fleet/lifecycle.js';

const names = ['a', 'b', 'c'] as const;

type Options = { readonly signal?: AbortSignal };
type Work = (control: Control, options: Options) => ResultAsync<unknown, CtrlExecError>;

const works: Readonly<Record<string, Work>> = {
  maintain: ({ dispatcher }, options) => dispatcher.maintain(options),
  rotate: ({ dispatcher }, options) => dispatcher.rotate(options),
  rotateCa: ({ dispatcher }, options) => dispatcher.rotateCa(options),
};

/** Agents that have answered, and whose certificates and dispatcher are due to be replaced. */
async function world() {
  const made = await lifecycle(names);
  for (const name of names) expect(await pingFails(made.control, name)).toBeUndefined();
  await made.clock.advance(300 * day);
  return made;
}

/** Is stopped when so many requests were about to be sent. */
function stopAt(control: Control, count: number) {
  const stop = new AbortController();
  let sent = 0;
  control.fault = () => {
    sent += 1;
    if (sent === count) stop.abort();
    return undefined;
  };
  return { signal: stop.signal, end: () => Object.assign(control, { fault: () => undefined }) };
}

/** Whoever wants to do exclusive work can. */
async function nobodyIsAtIt({ context: { clock, mutex } }: Control): Promise<void> {
  for (const work of ['identity', 'maintain', ...names.map((name) => `renew:${name}`)])
    value(await value(await mutex.acquire(work, clock.now())).release());
}

describe.each(Object.entries(works))('%s that is stopped', (_name, work) => {
  it('before it began has done nothing', async () => {
    const { fleet, control } = await world();
    const before = (await identityOf(control)).own;
    const sent = control.sent.length;
    const outcome = await fleet.settle(work(control, { signal: AbortSignal.abort() }));
    expect(failure(outcome).code).toBe('aborted');
    expect(control.sent).toHaveLength(sent);
    expect((await identityOf(control)).own).toEqual(before);
    await nobodyIsAtIt(control);
  });

  it.each([1, 2, 4, 6, 9])(
    'at request %i leaves agents that answer, and the next pass goes on',
    async (count) => {
      const { fleet, control } = await world();
      const { signal, end } = stopAt(control, count);
      const outcome = await fleet.settle(work(control, { signal }));
      end();
      // Where it had less to do than that, it was not stopped.
      if (signal.aborted) expect(failure(outcome).code).toBe('aborted');
      else value(outcome);
      await nobodyIsAtIt(control);
      for (const name of names) expect([name, await runFails(control, name)]).toEqual([name, undefined]);
      const later = value(await fleet.settle(control.dispatcher.maintain()));
      expect(later.failed).toEqual([]);
      expect((await identityOf(control)).own.next).toBeUndefined();
      for (const name of names) expect([name, await runFails(control, name)]).toEqual([name, undefined]);
      const { agents } = value(await control.dispatcher.serialStatus());
      expect(agents.map(({ state }) => state)).toEqual(names.map(() => 'current'));
    },
  );
});

describe('a revocation that is stopped', () => {
  it('before it began has revoked nothing', async () => {
    const { control } = await world();
    const error = failure(await control.dispatcher.revoke('a', { signal: AbortSignal.abort() }));
    expect(error.code).toBe('aborted');
    expect(value(await control.dispatcher.revocations())).toEqual([]);
  });

  it('while agents are told holds all the same, and they are told at the next contact', async () => {
    const { control } = await world();
    const { signal, end } = stopAt(control, 1);
    const error = failure(await control.dispatcher.revoke('a', { signal }));
    end();
    expect(error).toMatchObject({
      code: 'aborted',
      message: expect.stringContaining('revoked all the same'),
    });
    expect(await runFails(control, 'a')).toMatch(/revoked/);
    expect(value(await control.dispatcher.maintain()).failed).toEqual([]);
    expect(await runFails(control, 'b')).toBeUndefined();
  });
});

describe('a readmission that is stopped', () => {
  it('at any request can be made again', async () => {
    for (const count of [1, 2, 3]) {
      const { clock, control } = await world();
      await clock.advance(100 * day);
      value(await control.dispatcher.rotate());
      const { signal, end } = stopAt(control, count);
      const error = failure(await control.dispatcher.readmit('a', { signal }));
      end();
      expect(error.code).toBe('aborted');
      value(await control.dispatcher.readmit('a'));
      expect(await runFails(control, 'a')).toBeUndefined();
    }
  });
});
