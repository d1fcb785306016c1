import type { HostOutput } from '../../domain/runs/host-result.js';
import type { OutputPiece } from '../../sdk/dispatcher/runs/following.js';
import { visible } from './terminal-text.js';

/** Characters of a line that are held back until its end comes; a longer one is shown in several. */
const longestLine = 65_536;

type Stream = OutputPiece['stream'];

/** A line as it is shown. A host argument holds no blank, so that no output can be taken for that of another host or stream. */
const line = (host: string, stream: Stream, text: string): string =>
  `${host}${stream === 'stderr' ? ' STDERR' : ''}: ${visible(text)}\n`;

const encoder = new TextEncoder();

/** Bytes that a script has written in all. */
const written = ({ truncated, stdout, stderr, stdoutBytes, stderrBytes }: HostOutput) => ({
  stdout: truncated?.stdout ?? (stdoutBytes ?? encoder.encode(stdout)).length,
  stderr: truncated?.stderr ?? (stderrBytes ?? encoder.encode(stderr)).length,
});

/** Makes whole lines, each with its host, of output that comes in pieces. */
export function followedOutput() {
  const open = new Map<string, { readonly decoder: InstanceType<typeof TextDecoder>; rest: string }>();
  const keyOf = (host: string, stream: Stream) => `${stream} ${host}`;
  const shown = new Map<string, number>();
  const shownOf = (host: string, stream: Stream): number => shown.get(keyOf(host, stream)) ?? 0;

  return {
    /** The lines that a piece completes. */
    take({ host, stream, bytes }: OutputPiece): string {
      const key = keyOf(host, stream);
      shown.set(key, shownOf(host, stream) + bytes.length);
      const state = open.get(key) ?? { decoder: new TextDecoder('utf-8', { ignoreBOM: true }), rest: '' };
      open.set(key, state);
      const [...lines] = (state.rest + state.decoder.decode(bytes, { stream: true })).split('\n');
      state.rest = lines.pop() ?? '';
      let text = lines.map((whole) => line(host, stream, whole.replace(/\r$/, ''))).join('');
      for (; state.rest.length > longestLine; state.rest = state.rest.slice(longestLine))
        text += line(host, stream, state.rest.slice(0, longestLine));
      return text;
    },
    /** What is left of a host whose output has ended. */
    end(host: string): string {
      return (['stdout', 'stderr'] as const)
        .map((stream) => {
          const state = open.get(keyOf(host, stream));
          open.delete(keyOf(host, stream));
          const rest = state ? state.rest + state.decoder.decode() : '';
          return rest === '' ? '' : line(host, stream, rest);
        })
        .join('');
    },
    /** Whether anything of a host was shown. */
    wasShown: (host: string): boolean => shownOf(host, 'stdout') + shownOf(host, 'stderr') > 0,
    /** Whether as much was shown of a host as its script has written. */
    isAllOf(host: string, output: HostOutput): boolean {
      const { stdout, stderr } = written(output);
      return shownOf(host, 'stdout') === stdout && shownOf(host, 'stderr') === stderr;
    },
  };
}
