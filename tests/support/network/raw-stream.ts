import type { TLSSocket } from 'node:tls';
import { nodeCrypto } from '../../../src/adapters/node-crypto/crypto.js';
import type { HeaderList } from '../../../src/domain/protocol/http-message.js';
import { type StreamLine, streamReader } from '../../../src/domain/protocol/output-stream.js';
import type { Credentials } from '../../../src/ports/channel.js';
import { checkStreamEnd } from '../../../src/sdk/protocol/message-signing.js';
import { bytesOf, parseAnswer, requestOf, shownOn, signedFor } from './raw-http.js';

const crypto = nodeCrypto();

/** The chunks of a chunked body that are whole; undefined in their place: the body is whole. */
function chunkReader() {
  let pending = Buffer.alloc(0);
  let over = false;
  return {
    isOver: () => over,
    push(bytes: Buffer): Buffer[] {
      pending = Buffer.concat([pending, bytes]);
      const chunks: Buffer[] = [];
      for (;;) {
        const end = pending.indexOf('\r\n');
        if (end < 0 || over) return chunks;
        const size = Number.parseInt(pending.subarray(0, end).toString('latin1'), 16);
        if (pending.length < end + 2 + size + 2) return chunks;
        if (size === 0) over = true;
        else chunks.push(pending.subarray(end + 2, end + 2 + size));
        pending = pending.subarray(end + 2 + size + 2);
      }
    },
  };
}

/** A streamed run as it arrives over TLS. */
export interface FollowedRun {
  readonly head: { readonly status: number; readonly headers: HeaderList };
  /** The lines so far. */
  readonly lines: readonly StreamLine[];
  /** Resolves when the answer, or the connection, has ended; the result if its end line is there and holds. */
  readonly ended: Promise<Readonly<Record<string, unknown>> | undefined>;
}

/** Asks for a streamed run and reads it; resolves with the head of the answer. */
export async function followRun(socket: TLSSocket, who: Credentials, body: object): Promise<FollowedRun> {
  const request = signedFor(socket, who, requestOf('/run', JSON.stringify({ stream: true, ...body })));
  const certificate = shownOn(socket);
  const reader = streamReader(crypto.runningSha256(), 16 * 1024 * 1024);
  const chunks = chunkReader();
  const lines: StreamLine[] = [];
  let begun: (head: FollowedRun['head']) => void = () => undefined;
  const head = new Promise<FollowedRun['head']>((resolve) => {
    begun = resolve;
  });
  let text = '';
  let parsed: FollowedRun['head'] | undefined;
  const ended = new Promise<Readonly<Record<string, unknown>> | undefined>((resolve, reject) => {
    const finish = () => {
      const end = lines.at(-1);
      if (end?.kind !== 'end' || !parsed) return resolve(undefined);
      const by = { certificate, now: Date.now() };
      return checkStreamEnd(crypto, parsed, end, request, by).match(
        () => resolve(end.result),
        (reason) => reject(new Error(reason)),
      );
    };
    const take = (bytes: Buffer) => {
      for (const chunk of chunks.push(bytes)) {
        const read = reader.push(chunk);
        if (read.isErr()) return reject(new Error(read.error));
        lines.push(...read.value);
      }
      if (chunks.isOver()) finish();
      return undefined;
    };
    socket.on('data', (bytes: Buffer) => {
      if (parsed) return take(bytes);
      text += bytes.toString('latin1');
      const end = text.indexOf('\r\n\r\n');
      if (end < 0) return undefined;
      const { status, headers } = parseAnswer(text);
      parsed = { status, headers };
      begun(parsed);
      return take(Buffer.from(text.slice(end + 4), 'latin1'));
    });
    socket.on('close', finish);
  });
  socket.write(bytesOf(request));
  return { head: await head, lines, ended };
}

/** What was written to a stream of output. */
export const outputOf = (lines: readonly StreamLine[], stream: 'stdout' | 'stderr'): Buffer =>
  Buffer.concat(
    lines.flatMap((line) => (line.kind === 'output' && line.stream === stream ? [line.bytes] : [])),
  );
