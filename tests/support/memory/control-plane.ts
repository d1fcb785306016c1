import { errAsync, type ResultAsync } from 'neverthrow';
import { failure } from '../../../src/domain/core/errors.js';
import type { ControlPlaneRequest } from '../../../src/domain/deploy/control-plane-api.js';
import type { ControlPlane, ControlPlaneError } from '../../../src/ports/control-plane.js';

/** What a control plane in memory answers to a call. */
export type ControlPlaneScript = (
  request: ControlPlaneRequest,
  signal: AbortSignal,
) => ResultAsync<Uint8Array, ControlPlaneError>;

/** A control plane that is a function. Every call is noted before it is answered. */
export const memoryControlPlane = (
  script: ControlPlaneScript,
): ControlPlane & { readonly calls: ControlPlaneRequest[] } => {
  const calls: ControlPlaneRequest[] = [];
  const closed = new AbortController();
  const aborted = () => errAsync(failure('aborted', 'the call was aborted', {}));
  return {
    calls,
    send(request, signal) {
      const ended = signal ? AbortSignal.any([signal, closed.signal]) : closed.signal;
      if (ended.aborted) return aborted();
      calls.push(structuredClone(request));
      return script(request, ended);
    },
    async close() {
      closed.abort();
    },
  };
};
