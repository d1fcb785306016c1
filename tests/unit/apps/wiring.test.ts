import { errAsync, ok, okAsync, type ResultAsync } from 'neverthrow';
import { describe, expect, it } from 'vitest';
import { deferred, memo, resolvePorts } from '../../../src/apps/wiring.js';
import { type CtrlExecError, failure as errorOf } from '../../../src/domain/core/errors.js';
import { failure, value } from '../../contract/result.js';

interface Ports {
  readonly first: { readonly name: string };
  readonly second: { readonly of: { readonly name: string } };
}

describe('resolvePorts', () => {
  const counting = () => {
    const made: string[] = [];
    const ports = resolvePorts<Ports>({
      first: () => {
        made.push('first');
        return { name: 'one' };
      },
      second: (others) => {
        made.push('second');
        return { of: others.first };
      },
    });
    return { made, ports };
  };

  it('makes a port at its first use and gives the same one ever after', () => {
    const { made, ports } = counting();
    expect(made).toEqual([]);
    const { second } = ports;
    expect(made).toEqual(['second', 'first']);
    expect(ports.second).toBe(second);
    expect(ports.first).toBe(second.of);
    expect(made).toEqual(['second', 'first']);
  });

  it('gives a record that can be listed and spread, and has nothing else', () => {
    const { ports } = counting();
    expect(Object.keys(ports)).toEqual(['first', 'second']);
    expect({ ...ports }).toEqual({ first: { name: 'one' }, second: { of: { name: 'one' } } });
    expect('constructor' in ports).toBe(false);
  });

  it('makes a port whose value is undefined once', () => {
    let made = 0;
    const ports = resolvePorts<{ nothing: undefined }>({
      nothing: () => {
        made += 1;
        return undefined;
      },
    });
    expect([ports.nothing, ports.nothing, made]).toEqual([undefined, undefined, 1]);
  });

  it('tries again to make a port whose factory threw', () => {
    let tries = 0;
    const ports = resolvePorts<{ port: number }>({
      port: () => {
        tries += 1;
        if (tries === 1) throw new Error('not yet');
        return tries;
      },
    });
    expect(() => ports.port).toThrow('not yet');
    expect(ports.port).toBe(2);
  });
});

interface Port {
  add(a: number, b: number): ResultAsync<number, CtrlExecError>;
}

describe('deferred', () => {
  it('loads at the first call and hands on arguments, result and error', async () => {
    let loads = 0;
    const denied = errorOf('aborted', 'no', {});
    const port = deferred<Port>(
      memo(() => {
        loads += 1;
        return okAsync({ add: (a, b) => (a < 0 ? errAsync(denied) : okAsync(a + b)) });
      }),
    );
    expect(loads).toBe(0);
    const { add } = port;
    expect(value(await add(1, 2))).toBe(3);
    expect(failure(await port.add(-1, 2))).toBe(denied);
    expect(loads).toBe(1);
  });

  it('keeps the adapter as `this` of its methods', async () => {
    const adapter = {
      base: 40,
      add(a: number) {
        return okAsync(this.base + a);
      },
    };
    expect(value(await deferred<Port>(() => okAsync(adapter)).add(2, 0))).toBe(42);
  });

  it('answers with the failure to load, each time', async () => {
    const down = errorOf('store_failed', 'no store', { operation: 'open', reason: 'EACCES' });
    const port = deferred<Port>(() => errAsync(down));
    expect(failure(await port.add(1, 2))).toBe(down);
    expect(failure(await port.add(1, 2))).toBe(down);
  });
});

describe('memo', () => {
  it('makes once, also undefined', () => {
    let made = 0;
    const make = memo(() => {
      made += 1;
      return undefined;
    });
    expect([make(), make(), made]).toEqual([undefined, undefined, 1]);
  });

  it('gives everybody who asks at once the same promise', async () => {
    const make = memo(async () => ok({}));
    const [a, b] = await Promise.all([make(), make()]);
    expect(a).toBe(b);
  });
});
