import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ControlPlaneAnswer, ControlPlaneRequest } from '../../src/domain/deploy/control-plane-api.js';
import type { ControlPlane } from '../../src/ports/control-plane.js';
import { failure, value } from './result.js';

/** How the other side behaves: an answer, or nothing until the call is given up. */
export type PlaneScript = (request: ControlPlaneRequest) => ControlPlaneAnswer | 'silence';

export interface ControlPlaneSubject {
  readonly plane: ControlPlane;
  /** What has arrived. */
  readonly arrived: readonly ControlPlaneRequest[];
  readonly dispose: () => Promise<void>;
}

const text = (value: string) => new TextEncoder().encode(value);
const get: ControlPlaneRequest = { method: 'GET', path: '/api/v1/agents/a%2F1/work' };
const post: ControlPlaneRequest = { method: 'POST', path: '/api/v1/x', body: { a: [1, 'ü'], b: null } };

export function controlPlaneContract(
  name: string,
  create: (script: PlaneScript) => Promise<ControlPlaneSubject>,
): void {
  describe(`control plane: ${name}`, () => {
    let subject: ControlPlaneSubject;
    let script: PlaneScript = () => 'silence';
    beforeEach(async () => {
      subject = await create((request) => script(request));
    });
    afterEach(() => subject.dispose());

    it('a call arrives as it was made', async () => {
      script = () => ({ status: 200, body: text('{}') });
      for (const request of [get, post]) value(await subject.plane.send(request));
      expect(subject.arrived).toEqual([get, post]);
    });

    it.each([200, 202, 301, 307, 400, 401, 404, 410, 413, 429, 500, 503])(
      'status %i is an answer, and nothing is asked again',
      async (status) => {
        script = () => ({ status, body: text('why') });
        expect(value(await subject.plane.send(get))).toEqual({ status, body: text('why') });
        expect(subject.arrived).toHaveLength(1);
      },
    );

    it('calls are made side by side', async () => {
      let waiting = 0;
      script = () => {
        waiting += 1;
        return 'silence';
      };
      const stop = new AbortController();
      const calls = [1, 2, 3].map(() => subject.plane.send(get, stop.signal));
      await expect.poll(() => waiting).toBe(3);
      stop.abort();
      for (const call of calls) expect(failure(await call).code).toBe('aborted');
    });

    it('a call that is given up before it begins does not arrive', async () => {
      expect(failure(await subject.plane.send(get, AbortSignal.abort())).code).toBe('aborted');
      expect(subject.arrived).toEqual([]);
    });

    it('closing ends calls, and those to come', async () => {
      script = () => 'silence';
      const call = subject.plane.send(get);
      await expect.poll(() => subject.arrived.length).toBe(1);
      await subject.plane.close();
      expect(failure(await call).code).toBe('aborted');
      expect(failure(await subject.plane.send(get)).code).toBe('aborted');
      await subject.plane.close();
    });
  });
}
