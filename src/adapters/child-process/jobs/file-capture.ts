import { writeSync } from 'node:fs';
import type { OutputCapture } from '../../../domain/runs/output-capture.js';
import { outputRing, type Segment } from '../../../domain/runs/output-ring.js';
import { codeOf } from '../../shared/system-code.js';
import type { KeptStream } from './records.js';

export interface FileCapture extends OutputCapture {
  kept(): KeptStream;
  /** The system's code of what kept output from being written. */
  failed(): string | undefined;
}

/** Head and tail of a stream in a file, so that no output costs memory. What cannot be written is counted only. */
export const fileCapture = (descriptor: number, limit: number): FileCapture => {
  let failure: string | undefined;
  let intact: readonly Segment[] = [];
  let written = 0;

  const write = (bytes: Uint8Array, position: number): void => {
    if (failure !== undefined) return;
    try {
      for (let at = 0; at < bytes.length; ) {
        const count = writeSync(descriptor, bytes, at, bytes.length - at, position + at);
        at += count;
        if (position + at > written) written = position + at;
      }
    } catch (error) {
      failure = codeOf(error);
      // What the tail was is overwritten in part, and where its beginning was is known no more.
      intact = [[0, ring.total() < limit ? written : Math.floor(limit / 2)]];
    }
  };
  const ring = outputRing(limit, write);

  const kept = (): KeptStream => ({
    total: ring.total(),
    segments: failure === undefined ? ring.segments() : intact,
  });
  return {
    add: ring.add,
    kept,
    failed: () => failure,
    // The bytes stay in the file.
    result: () => ({ bytes: new Uint8Array(), total: ring.total() }),
  };
};
