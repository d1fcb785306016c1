import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ControlPlaneRequest } from '../../src/domain/deploy/control-plane-api.js';
import type { ControlPlane } from '../../src/ports/control-plane.js';
import { failure, value } from './result.js';

/** How the other side behaves: an answer, or nothing until the call is given up. */
export type PlaneScript = (
  request: ControlPlaneRequest,
) => { readonly status: number; readonly body: Uint8Array } | 'silence';

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

    it('a call that succeeds gives the body: one that is done, or, where it is done later, taken on', async () => {
      for (const [status, request] of [
        [200, get],
        [202, { ...post, later: true }],
      ] as const) {
        script = () => ({ status, body: text('{"a":1}') });
        expect(value(await subject.plane.send(request))).toEqual(text('{"a":1}'));
      }
    });

    it.each([
      [202, 'other'],
      [301, 'other'],
      [307, 'other'],
      [400, 'other'],
      [401, 'other'],
      [403, 'forbidden'],
      [404, 'other'],
      [410, 'retired'],
      [413, 'too_much'],
      [429, 'busy'],
      [500, 'busy'],
      [503, 'busy'],
    ])(
      'status %i is a refusal (%s) in the words of the body, and nothing is asked again',
      async (status, why) => {
        script = () => ({ status, body: text('their words') });
        const error = failure(await subject.plane.send(get));
        expect(error).toMatchObject({ code: 'refused', why, status, reason: 'their words' });
        expect(error.message).toContain(`status ${status}: their words`);
        expect(subject.arrived).toHaveLength(1);
      },
    );

    it('what was done is refused where it was to be done later', async () => {
      script = () => ({ status: 200, body: text('') });
      const error = failure(await subject.plane.send({ ...get, later: true }));
      expect(error).toMatchObject({ status: 200, why: 'other', reason: 'status 200 instead of 202' });
    });

    it('a body is told in one line and not wholly', async () => {
      const said = async (body: string) => {
        script = () => ({ status: 500, body: text(body) });
        return failure(await subject.plane.send(get));
      };
      expect(await said(`a\r\nb\u001b[2J${'x'.repeat(10_000)}`)).toMatchObject({
        reason: expect.stringMatching(/^a\\r\\nb\\u001b\[2Jx+…$/),
      });
      expect(await said('y'.repeat(10_000))).toMatchObject({ reason: expect.stringMatching(/^y{299}…$/) });
    });

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
