import { describe, expect, it } from 'vitest';
import { budget } from '../../../../src/sdk/core/parallel.js';

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('a budget', () => {
  it('lets those wait who would exceed it, and serves them in turn', async () => {
    const { reserve } = budget(10);
    const served: string[] = [];
    const ask = async (name: string, amount: number) => {
      const giveBack = await reserve(amount);
      served.push(name);
      return () => giveBack?.();
    };
    const first = await ask('first', 6);
    const second = ask('second', 6);
    const third = ask('third', 1);
    await turn();
    // The third one would find room, but is not before the second.
    expect(served).toEqual(['first']);
    first();
    first();
    (await second)();
    (await third)();
    expect(served).toEqual(['first', 'second', 'third']);
    (await ask('all', 10))();
  });

  it('gives all that it has to whoever asks for more', async () => {
    const { reserve } = budget(10);
    const giveBack = await reserve(1_000);
    let next = false;
    const waiting = reserve(1).then((given) => {
      next = true;
      return given;
    });
    await turn();
    expect(next).toBe(false);
    giveBack?.();
    expect(await waiting).toBeDefined();
  });

  it('does not keep a place for whoever does not wait any more', async () => {
    const { reserve } = budget(10);
    const giveBack = await reserve(6);
    const stop = new AbortController();
    const large = reserve(6, stop.signal);
    const small = reserve(4);
    stop.abort();
    expect(await large).toBeUndefined();
    expect(await small).toBeDefined();
    expect(await reserve(1, AbortSignal.abort())).toBeUndefined();
    giveBack?.();
    expect(await reserve(6)).toBeDefined();
  });
});
