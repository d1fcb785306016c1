import type { Result } from 'neverthrow';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import { outcomeOf } from '../../../domain/runs/summary.js';
import type { EventLog } from '../../../ports/event-log.js';
import type { Dispatcher } from '../../../sdk/dispatcher/dispatcher.js';
import type { FollowedRun } from '../../../sdk/dispatcher/runs/follow.js';
import type { Run, Submitted } from '../../../sdk/dispatcher/runs/run.js';
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
  const ran = ({ mode }: RunKind, outcome: Result<Run | Submitted, CtrlExecError>, seconds: number) =>
    outcome.match(
      ({ results }) => {
        const states = results.map(({ state }) => state);
        for (const state of states) hostResults.inc({ state });
        runs.inc({ mode, outcome: outcomeOf(states) });
        runSeconds.observe({ mode }, seconds);
      },
      ({ code }) => runs.inc({ mode, outcome: code }),
    );
  /** Counts a call until it has ended. */
  const during = async (
    measure: Measure,
    answer: PromiseLike<Result<unknown, CtrlExecError>>,
    run?: RunKind,
  ) => {
    const began = performance.now();
    const place = measure.place === false ? 0 : 1;
    calls += 1;
    working += place;
    underWay.set(calls);
    const outcome = await answer;
    calls -= 1;
    working -= place;
    underWay.set(calls);
    if (outcome.isErr()) errors.inc({ code: outcome.error.code });
    if (run) ran(run, outcome as Result<Run | Submitted, CtrlExecError>, (performance.now() - began) / 1000);
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
          const measure: Measure = name in measures ? measures[name as keyof typeof measures] : {};
          if (typeof member !== 'function' || measure.counted === false) return member;
          return (...args: unknown[]) => {
            const answer = Reflect.apply(member, target, args);
            void during(measure, measure.outcome?.(answer) ?? answer, measure.run?.(args[1]));
            return answer;
          };
        },
      }),
  };
}

export type ApiMetrics = ReturnType<typeof apiMetrics>;

interface RunKind {
  readonly mode: 'sync' | 'async';
}

/** How calls of a method are measured. */
interface Measure {
  /** False: it tells of the dispatcher itself, and is no call. */
  readonly counted?: false;
  /** False: it is bounded by places of its own: the hook's questions, and what watches. */
  readonly place?: false;
  /** It asks for a run. @param options its second argument */
  readonly run?: (options: unknown) => RunKind;
  /** Where its outcome is, if it is not what it returns. */
  readonly outcome?: (answer: FollowedRun) => FollowedRun['outcome'];
}

const sync = (): RunKind => ({ mode: 'sync' });

/** The methods that are not just calls. One that has another name now is an error here. */
const measures = {
  configuration: { counted: false },
  settled: { counted: false },
  close: { counted: false },
  [Symbol.asyncDispose]: { counted: false },
  authorise: { place: false },
  wait: { place: false },
  watch: { place: false },
  run: { run: sync },
  stream: { run: sync, outcome: ({ outcome }) => outcome },
  submit: { run: () => ({ mode: 'async' }) },
  retry: {
    run: (options) => ({
      mode: (options as { async?: boolean } | undefined)?.async === true ? 'async' : 'sync',
    }),
  },
} as const satisfies { readonly [M in keyof Dispatcher]?: Measure };
