import { expect, it } from 'vitest';
import { lanes } from '../../../../src/sdk/core/lanes.js';

/** Work that ends when it is told to. */
function works() {
  const log: string[] = [];
  const ends = new Map<string, () => void>();
  const work = (name: string) => () => {
    log.push(name);
    return new Promise<string>((resolve) => {
      ends.set(name, () => resolve(name));
    });
  };
  const end = async (name: string) => {
    ends.get(name)?.();
    await new Promise(setImmediate);
  };
  return { log, work, end };
}

it('work that shares a key is done one after the other, other work at once, and nobody waits for ever', async () => {
  const { log, work, end } = works();
  const inLanes = lanes();
  const all = [
    inLanes(['a', 'b'], work('ab')),
    inLanes(['b', 'c'], work('bc')),
    inLanes(['c', 'a', 'a'], work('ca')),
    inLanes(['d'], work('d')),
    inLanes([], work('free')),
  ];
  await new Promise(setImmediate);
  expect(log).toEqual(['ab', 'd', 'free']);
  await end('ab');
  expect(log.at(-1)).toBe('bc');
  await end('bc');
  expect(log.at(-1)).toBe('ca');
  for (const name of ['ca', 'd', 'free']) await end(name);
  expect(await Promise.all(all)).toEqual(['ab', 'bc', 'ca', 'd', 'free']);
});

it('a lane is free again after work that threw', async () => {
  const inLanes = lanes();
  const broken = inLanes(['a'], () => Promise.reject(new Error('bug')));
  const next = inLanes(['a'], async () => 'done');
  await expect(broken).rejects.toThrow('bug');
  expect(await next).toBe('done');
});
