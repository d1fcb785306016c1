import { err, ok } from 'neverthrow';
import { maxRunAnswer } from '../../../domain/protocol/agent-protocol.js';
import { type StreamEnd, streamReader } from '../../../domain/protocol/output-stream.js';
import { checkStreamEnd } from '../../protocol/message-signing.js';
import type { DispatcherContext } from '../context.js';
import type { AgentRequest, Following } from '../trust/agent-request.js';

/** A piece of what a script writes. It may end in the middle of a line, or of a character. */
export interface OutputPiece {
  /** The registry name, or the host argument as given. */
  readonly host: string;
  readonly stream: 'stdout' | 'stderr';
  readonly bytes: Uint8Array;
}

/**
 * Reads one streamed answer to a run (wire-protocol 2.5).
 * @param give is given each piece, the next one when it has resolved; nothing is vouched for yet
 */
export function followed(
  { clock, crypto }: DispatcherContext,
  give: (piece: Omit<OutputPiece, 'host'>) => Promise<void>,
) {
  let end: StreamEnd | undefined;
  const follow: NonNullable<AgentRequest['follow']> = (head, sent): Following => {
    const reader = streamReader(crypto.runningSha256(), maxRunAnswer);
    return {
      async take(bytes) {
        const lines = reader.push(bytes);
        if (lines.isErr()) return err(lines.error);
        for (const line of lines.value) {
          if (line.kind === 'output') await give({ stream: line.stream, bytes: line.bytes });
          if (line.kind !== 'end') continue;
          const by = { certificate: head.peer, now: clock.now() };
          const checked = checkStreamEnd(crypto, head, line, sent, by);
          // defence: stream-end-is-checked
          if (checked.isErr()) return err(checked.error);
          end = line;
        }
        return ok(undefined);
      },
      verdict() {
        const incomplete = reader.whyIncomplete();
        if (incomplete !== undefined) return err(incomplete);
        return end ? ok(undefined) : err('the signature of its end line does not hold');
      },
    };
  };
  /** What its end line says, once that was authenticated. Undefined: there was no stream, or none that holds. */
  return { follow, result: () => end?.result };
}
