import { base64 } from '../../domain/core/bytes.js';
import { unsuccessful } from '../../domain/runs/summary.js';
import type { RunEvent } from '../../sdk/dispatcher/runs/follow.js';
import type { Run } from '../../sdk/dispatcher/runs/run.js';
import type { ResultJson } from './hosts.js';

/** A piece of output as an event has it: as text, or where it is no UTF-8 as base64. */
type OutputData = { readonly text: string } | { readonly base64: string };

interface Piece {
  readonly host: string;
  readonly stream: 'stdout' | 'stderr';
  readonly bytes: Uint8Array;
}

interface OutputEvent {
  readonly host: string;
  readonly stream: 'stdout' | 'stderr';
}

/** How many bytes a character has that begins with this one; 0: none begins with it. */
function lengthOf(first: number): number {
  if (first >= 0xc2 && first <= 0xdf) return 2;
  if (first >= 0xe0 && first <= 0xef) return 3;
  return first >= 0xf0 && first <= 0xf4 ? 4 : 0;
}

/** How many bytes at the end are the beginning of a character whose rest may be yet to come. */
function unfinished(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back += 1) {
    const byte = bytes[bytes.length - back] ?? 0;
    if ((byte & 0xc0) === 0x80) continue;
    return lengthOf(byte) > back ? back : 0;
  }
  return 0;
}

function dataOf(bytes: Uint8Array): OutputData {
  try {
    return { text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes) };
  } catch {
    return { base64: base64(bytes) };
  }
}

/** Makes events of output that comes in pieces; a character that is cut between two pieces of a stream stays whole. */
export function outputText() {
  const held = new Map<string, Uint8Array>();
  const keyOf = ({ host, stream }: OutputEvent) => `${stream} ${host}`;
  return {
    /** Undefined: nothing but the beginning of a character. */
    take({ host, stream, bytes }: Piece): (OutputEvent & OutputData) | undefined {
      const key = keyOf({ host, stream });
      const whole = Buffer.concat([held.get(key) ?? new Uint8Array(), bytes]);
      const end = whole.length - unfinished(whole);
      if (end < whole.length) held.set(key, whole.subarray(end));
      else held.delete(key);
      return end === 0 ? undefined : { host, stream, ...dataOf(whole.subarray(0, end)) };
    },
    /** What was held back of a host whose output has ended: no character, after all. */
    end(host: string): readonly (OutputEvent & OutputData)[] {
      return (['stdout', 'stderr'] as const).flatMap((stream) => {
        const rest = held.get(keyOf({ host, stream }));
        held.delete(keyOf({ host, stream }));
        return rest ? [{ host, stream, base64: base64(rest) }] : [];
      });
    },
  };
}

/** What the last event of a run says. */
export const endOf = ({ reqid, results }: Run) => ({
  reqid,
  failed: [...unsuccessful(results)],
});

/**
 * Makes of each event of a run the events that the API and `run --follow --json` have, each with its name.
 * @param resultJson a host as it is shown there
 */
export function runEventJson(resultJson: ResultJson) {
  const text = outputText();
  return (event: RunEvent): readonly (readonly [string, object])[] => {
    switch (event.kind) {
      case 'begin':
        return [['begin', { reqid: event.reqid }]];
      case 'output': {
        const output = text.take(event);
        return output ? [['output', output]] : [];
      }
      case 'result': {
        const { result } = event;
        const rest = text.end(result.host).map((output) => ['output', output] as const);
        return [...rest, ['result', resultJson(result)]];
      }
      case 'end':
        return [['end', endOf(event.run)]];
    }
  };
}
