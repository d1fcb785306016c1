import type { Result } from 'neverthrow';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import { outcomeOf } from '../../../domain/runs/summary.js';
import type { EventLog } from '../../../ports/event-log.js';
import type { Dispatcher } from '../../../sdk/dispatcher/dispatcher.js';
import type { Run } from '../../../sdk/dispatcher/runs/run.js';
import type { Submitted } from '../../../sdk/dispatcher/runs/submit.js';
import { version } from '../../version.js';
import type { EndedRequest } from '../serve/requests.js';

/** Said of every number that begins at 0 with the process, and of what other processes do counts nothing. */
const here = 'by this process since it was started';

/** What the API counts. Labels are of closed sets: clients and agents cannot make more of them. */
export function apiMetrics() {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry });
  new Gauge({
    name: 'ctrl_exec_build_info',
    help: 'Always 1; the version is in the label.',
    labelNames: ['version'],
    registers,
  }).set({ version }, 1);
  const requests = new Counter({
    name: 'ctrl_exec_api_requests_total',
    help: `HTTP requests answered ${here}, by method, route and status; route "-": none, or refused before; status 499: the client left.`,
    labelNames: ['method', 'route', 'status'] as const,
    registers,
  });
  const requestSeconds = new Histogram({
    name: 'ctrl_exec_api_request_duration_seconds',
    help: `Seconds from the header of an HTTP request to the end of its answer, ${here}.`,
    labelNames: ['route'] as const,
    buckets: [0.005, 0.02, 0.1, 0.5, 1, 5, 15, 60, 300],
    registers,
  });
  const runs = new Counter({
    name: 'ctrl_exec_runs_total',
    help: `Runs asked for ${here}: mode sync or async; outcome succeeded (every host exited 0), running or unknown (some may go on; an async one that was accepted), failed, or the code of what kept it from being begun (denied, locked, ...).`,
    labelNames: ['mode', 'outcome'] as const,
    registers,
  });
  const runSeconds = new Histogram({
    name: 'ctrl_exec_run_duration_seconds',
    help: `Seconds of a synchronous run, over all of its hosts, ${here}; of an async one those of its submission.`,
    labelNames: ['mode'] as const,
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300],
    registers,
  });
  const hostResults = new Counter({
    name: 'ctrl_exec_host_results_total',
    help: `Hosts of runs ${here}, by the state in which they were left.`,
    labelNames: ['state'] as const,
    registers,
  });
  const errors = new Counter({
    name: 'ctrl_exec_errors_total',
    help: `Calls of the dispatcher that failed as a whole, ${here}, by the code of the error.`,
    labelNames: ['code'] as const,
    registers,
  });
  const events = new Counter({
    name: 'ctrl_exec_events_total',
    help: `Events of level warning or error logged ${here}; docs/events.md has what each means.`,
    labelNames: ['action', 'level'] as const,
    registers,
  });
  const underWay = new Gauge({
    name: 'ctrl_exec_calls_under_way',
    help: 'Calls of the dispatcher that requests have made and that have not ended.',
    registers,
  });
  const maintained = new Gauge({
    name: 'ctrl_exec_maintenance_last_success_timestamp_seconds',
    help: 'When this process last ended a maintenance pass without an error of the pass as a whole; 0: not yet.',
    registers,
  });
  let calls = 0;
  let working = 0;
  const counted = (by: 1 | -1, name: string | symbol) => {
    calls += by;
    underWay.set(calls);
    if (!withOtherPlaces.has(name)) working += by;
  };
  const ran = (mode: 'sync' | 'async', outcome: string, seconds: number, begun: boolean) => {
    runs.inc({ mode, outcome });
    if (begun) runSeconds.observe({ mode }, seconds);
  };
  const runEnded = (outcome: Result<Run, CtrlExecError>, seconds: number) =>
    outcome.match(
      ({ results }) => {
        const states = results.map(({ state }) => state);
        for (const state of states) hostResults.inc({ state });
        ran('sync', outcomeOf(states), seconds, true);
      },
      ({ code }) => ran('sync', code, seconds, false),
    );
  const submitEnded = (outcome: Result<Submitted, CtrlExecError>, seconds: number) =>
    outcome.match(
      ({ results }) => {
        const states = results.map(({ state }) => state);
        for (const state of states) hostResults.inc({ state });
        ran('async', outcomeOf(states), seconds, true);
      },
      ({ code }) => ran('async', code, seconds, false),
    );
  /** Counts a call until it has ended. */
  const during = <T>(
    name: string | symbol,
    answer: PromiseLike<Result<T, CtrlExecError>>,
    ended?: (outcome: Result<T, CtrlExecError>, seconds: number) => void,
  ) => {
    const began = performance.now();
    counted(1, name);
    void answer.then((outcome) => {
      counted(-1, name);
      if (outcome.isErr()) errors.inc({ code: outcome.error.code });
      ended?.(outcome, (performance.now() - began) / 1000);
    });
  };

  return {
    registry,
    /** Calls that take a place of `api_max_concurrent`, also when their client has left. */
    calls: () => working,
    maintained: () => maintained.setToCurrentTime(),
    requestEnded({ method, path, status, seconds }: EndedRequest) {
      requests.inc({ method, route: path, status: String(status) });
      requestSeconds.observe({ route: path }, seconds);
    },
    /** A log of whose events the urgent ones are counted. */
    events: (log: EventLog): EventLog => ({
      emit(event) {
        const { action, level = 'info' } = event;
        if (level !== 'info') events.inc({ action, level });
        log.emit(event);
      },
    }),
    /** A dispatcher of whose calls each is counted. */
    dispatcher: (dispatcher: Dispatcher): Dispatcher =>
      new Proxy(dispatcher, {
        get(target, name) {
          const member: unknown = Reflect.get(target, name);
          if (typeof member !== 'function' || notCounted.has(name)) return member;
          return (...args: unknown[]) => {
            const answer = Reflect.apply(member, target, args);
            const outcome = name === 'stream' ? answer.outcome : answer;
            if (name === 'submit' || (name === 'retry' && isAsync(args[1])))
              during(name, outcome, submitEnded);
            else if (['run', 'stream', 'retry'].includes(String(name))) during(name, outcome, runEnded);
            else during(name, outcome);
            return answer;
          };
        },
      }),
  };
}

const isAsync = (options: unknown): boolean => (options as { async?: boolean } | undefined)?.async === true;

export type ApiMetrics = ReturnType<typeof apiMetrics>;

/** What tells of the dispatcher itself, and is no call. */
const notCounted: ReadonlySet<string | symbol> = new Set([
  'configuration',
  'settled',
  'close',
  Symbol.asyncDispose,
]);

/** What is bounded by places of its own: the hook's questions, and streams that watch. */
const withOtherPlaces: ReadonlySet<string | symbol> = new Set(['authorise', 'wait']);
