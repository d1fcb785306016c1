import { err, ok, type Result } from 'neverthrow';
import type { JsonObject } from '../../domain/core/decode.js';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import { timedOut } from '../../domain/protocol/connection-failures.js';
import { boundedAnswer } from '../../domain/runs/bounded-answer.js';
import type { Clock } from '../../ports/clock.js';
import type { Crypto } from '../../ports/crypto.js';
import { budget } from '../core/parallel.js';
import { aborted } from '../core/wait.js';

/** Bytes that all answers in flight may hold together, of every dispatcher in this process. */
const inFlight = budget(256 * 1024 * 1024);

/** Bytes that an answer may hold without a share of the budget. */
const small = 64 * 1024;

type BodyError = CtrlExecError<'too_large' | 'timed_out' | 'aborted'>;

/** The body of an answer with the output of a run, read as it comes: of each stream so much is kept, whatever is sent. */
export interface BoundedBody {
  take(bytes: Uint8Array): Promise<Result<void, BodyError>>;
  /** Of all bytes. */
  sha256(): Uint8Array;
  /** What it says. Where output was left out, `truncated` says how much there was. */
  read(): Result<JsonObject, string>;
  /** Gives the share of the budget back. */
  close(): void;
}

/** What a body is held to. */
export interface BodyLimits {
  /** Where it comes from, for messages. */
  readonly host: string;
  readonly port: number;
  /** Bytes of each stream that are kept. */
  readonly maxOutput: number;
  /** Bytes in all. */
  readonly maxBody: number;
  /** Milliseconds for all of it; what is waited for the budget does not count. */
  readonly timeout: number;
  readonly signal?: AbortSignal | undefined;
}

export function boundedBody(
  { clock, crypto }: { readonly clock: Clock; readonly crypto: Crypto },
  limits: BodyLimits,
): BoundedBody {
  const { maxBody, maxOutput, signal, timeout } = limits;
  const reader = boundedAnswer(maxOutput);
  const digest = crypto.runningSha256();
  let size = 0;
  let invalid: string | undefined;
  let giveBack: (() => void) | undefined;
  let deadline = clock.monotonic() + timeout;
  return {
    async take(bytes) {
      size += bytes.length;
      if (size > maxBody) {
        const message = `the answer is larger than ${maxBody} bytes`;
        return err(failure('too_large', message, { what: 'the answer', limit: maxBody }));
      }
      if (clock.monotonic() > deadline) return err(timedOut(limits, 'answer', timeout));
      if (size > small && !giveBack) {
        const before = clock.monotonic();
        giveBack = await inFlight.reserve(2 * maxOutput + small, signal);
        if (!giveBack) return err(aborted());
        deadline += clock.monotonic() - before;
      }
      digest.update(bytes);
      // What is no JSON is still to be judged by its signature.
      if (invalid === undefined)
        invalid = reader.add(bytes).match(
          () => undefined,
          (reason) => reason,
        );
      return ok(undefined);
    },
    sha256: () => digest.digest(),
    read: () => (invalid === undefined ? reader.end() : err(invalid)),
    close: () => giveBack?.(),
  };
}
