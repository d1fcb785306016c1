/** What `/proc/<pid>/stat` tells (proc(5)). */
export interface ProcessStat {
  /** One letter; `Z` and `X`: it has ended. */
  readonly state: string;
  readonly group: number;
  readonly session: number;
  readonly threads: number;
  /** Clock ticks since the machine was started: tells a process from a later one with its id. */
  readonly started: string;
}

/** Fields 3, 5, 6, 20 and 22; the command name before them may hold spaces and parentheses. */
export function parseProcessStat(text: string): ProcessStat | undefined {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const [state, group, session, threads, started] = [0, 2, 3, 17, 19].map((index) => fields[index]);
  if (!state || started === undefined) return undefined;
  return { state, group: Number(group), session: Number(session), threads: Number(threads), started };
}

/** Whether a process with this state has ended and merely waits to be collected; its other threads may be inside a system call. */
export const isOver = ({ state, threads }: ProcessStat): boolean => 'ZX'.includes(state) && threads <= 1;
