import { err, ok, type Result } from 'neverthrow';
import type { JsonObject } from '../../domain/core/decode.js';
import { type StreamEnd, streamReader, streamType } from '../../domain/protocol/output-stream.js';
import type { Certificate } from '../../domain/trust/certificate.js';
import type { AnswerHead } from '../../ports/channel.js';
import type { Clock } from '../../ports/clock.js';
import type { Crypto } from '../../ports/crypto.js';
import { checkStreamEnd, type RequestOnWire } from './message-signing.js';

/** A piece of what a script writes. It may end in the middle of a line, or of a character. */
export interface OutputPiece {
  readonly stream: 'stdout' | 'stderr';
  readonly bytes: Uint8Array;
}

/** An answer that is read as it comes (wire-protocol 2.5). Err: nothing of it counts. */
export interface FollowedAnswer {
  take(bytes: Uint8Array): Promise<Result<void, string>>;
  /** What its end line says, which vouches for everything before it. */
  verdict(): Result<JsonObject, string>;
}

export const isStream = ({ status, headers }: AnswerHead): boolean =>
  status === 200 && headers.some(([name, value]) => name === 'content-type' && value === streamType);

interface Followed {
  readonly head: AnswerHead;
  readonly peer: Certificate;
  readonly sent: RequestOnWire;
  /** Bytes of each stream in the result. */
  readonly maxOutput: number;
}

/** Bytes of the end line for one byte of each stream: as `\\u00xx`. */
const mostWritten = 2 * 6;

/** @param give is given each piece, the next one when it has resolved; nothing is vouched for yet */
export function followedAnswer(
  { clock, crypto }: { readonly clock: Clock; readonly crypto: Crypto },
  { head, peer, sent, maxOutput }: Followed,
  give: (piece: OutputPiece) => Promise<void>,
): FollowedAnswer {
  // The end line has the whole result.
  const reader = streamReader(crypto.runningSha256(), mostWritten * maxOutput);
  let end: StreamEnd | undefined;
  return {
    async take(bytes) {
      const lines = reader.push(bytes);
      if (lines.isErr()) return err(lines.error);
      for (const line of lines.value) {
        if (line.kind === 'output') await give({ stream: line.stream, bytes: line.bytes });
        if (line.kind !== 'end') continue;
        const checked = checkStreamEnd(crypto, head, line, sent, { certificate: peer, now: clock.now() });
        // defence: stream-end-is-checked
        if (checked.isErr()) return err(checked.error);
        end = line;
      }
      return ok(undefined);
    },
    verdict() {
      const incomplete = reader.whyIncomplete();
      if (incomplete !== undefined) return err(incomplete);
      return end ? ok(end.result) : err('the signature of its end line does not hold');
    },
  };
}
