import type { ResultAsync } from 'neverthrow';
import { describe, expect, it } from 'vitest';
import type { CtrlExecError } from '../../../../../src/domain/core/errors.js';
import {
  type Control,
  day,
  identityOf,
  lifecycle,
  pingFails,
  runFails,
} from '../../../../support/fleet/lifecycle.js';

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

describe.each(Object.entries(works))('%s that is stopped', (_name, work) => {
  it('before it began has done nothing', async () => {
    const { fleet, control } = await world();
    const before = (await identityOf(control)).own;
    const sent = control.sent.length;
    const outcome = await fleet.settle(work(control, { signal: AbortSignal.abort() }));
    expect(outcome._unsafeUnwrapErr().code).toBe('aborted');
    expect(control.sent).toHaveLength(sent);
    expect((await identityOf(control)).own).toEqual(before);
    expect((await control.dispatcher.locks())._unsafeUnwrap()).toEqual([]);
  });

  it.each([1, 2, 4, 6, 9])(
    'at request %i leaves agents that answer, and the next pass goes on',
    async (count) => {
      const { fleet, control } = await world();
      const { signal, end } = stopAt(control, count);
      const outcome = await fleet.settle(work(control, { signal }));
      end();
      // Where it had less to do than that, it was not stopped.
      if (signal.aborted) expect(outcome._unsafeUnwrapErr().code).toBe('aborted');
      else outcome._unsafeUnwrap();
      expect((await control.dispatcher.locks())._unsafeUnwrap()).toEqual([]);
      for (const name of names) expect([name, await runFails(control, name)]).toEqual([name, undefined]);
      const later = (await fleet.settle(control.dispatcher.maintain()))._unsafeUnwrap();
      expect(later.failed).toEqual([]);
      expect((await identityOf(control)).own.next).toBeUndefined();
      for (const name of names) expect([name, await runFails(control, name)]).toEqual([name, undefined]);
      const { agents } = (await control.dispatcher.serialStatus())._unsafeUnwrap();
      expect(agents.map(({ state }) => state)).toEqual(names.map(() => 'current'));
    },
  );
});

describe('a revocation that is stopped', () => {
  it('before it began has revoked nothing', async () => {
    const { control } = await world();
    const error = (await control.dispatcher.revoke('a', { signal: AbortSignal.abort() }))._unsafeUnwrapErr();
    expect(error.code).toBe('aborted');
    expect((await control.dispatcher.revocations())._unsafeUnwrap()).toEqual([]);
  });

  it('while agents are told holds all the same, and they are told at the next contact', async () => {
    const { control } = await world();
    const { signal, end } = stopAt(control, 1);
    const error = (await control.dispatcher.revoke('a', { signal }))._unsafeUnwrapErr();
    end();
    expect(error).toMatchObject({
      code: 'aborted',
      message: expect.stringContaining('revoked all the same'),
    });
    expect(await runFails(control, 'a')).toMatch(/revoked/);
    expect((await control.dispatcher.maintain())._unsafeUnwrap().failed).toEqual([]);
    expect(await runFails(control, 'b')).toBeUndefined();
  });
});

describe('a readmission that is stopped', () => {
  it('at any request can be made again', async () => {
    for (const count of [1, 2, 3]) {
      const { clock, control } = await world();
      await clock.advance(100 * day);
      (await control.dispatcher.rotate())._unsafeUnwrap();
      const { signal, end } = stopAt(control, count);
      const error = (await control.dispatcher.readmit('a', { signal }))._unsafeUnwrapErr();
      end();
      expect(error.code).toBe('aborted');
      (await control.dispatcher.readmit('a'))._unsafeUnwrap();
      expect(await runFails(control, 'a')).toBeUndefined();
    }
  });
});
