import type { ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../domain/core/errors.js';

/** Each port and how it is made from the others; made when first used. */
export type Factories<Ports> = { readonly [K in keyof Ports]: (ports: Ports) => Ports[K] };

/** Makes the ports of a record of factories, each at its first use, at most once. */
export function resolvePorts<Ports extends object>(factories: Factories<Ports>): Ports {
  const made = new Map<PropertyKey, unknown>();
  const ports: Ports = Object.create(null);
  for (const name of Object.keys(factories) as (keyof Ports & string)[])
    Object.defineProperty(ports, name, {
      enumerable: true,
      get: () => {
        if (!made.has(name)) made.set(name, factories[name](ports));
        return made.get(name);
      },
    });
  return ports;
}

/**
 * A port whose adapter is loaded by its first call. Only for ports all of whose methods return a ResultAsync.
 */
export function deferred<Port extends object>(load: () => ResultAsync<Port, CtrlExecError>): Port {
  return new Proxy(Object.create(null) as Port, {
    get:
      (_target, method) =>
      (...args: unknown[]) =>
        load().andThen((port) => {
          const call: unknown = Reflect.get(port, method);
          if (typeof call !== 'function') throw new TypeError(`no method ${String(method)}`);
          return Reflect.apply(call, port, args) as ResultAsync<unknown, CtrlExecError>;
        }),
  });
}

/** Makes a value at the first call and gives the same one ever after. */
export const memo = <T>(make: () => T): (() => T) => {
  let made: { value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
};
