import type { Dispatcher, HostResult, Run } from '../../../src/apps/library/index.js';
import { value } from '../../contract/result.js';
import type { Place, ScriptName } from './place.js';

/** What became of what was tried, by kind. */
interface Count {
  attempted: number;
  succeeded: number;
  /** Failed, as it has to. */
  failed: number;
  unexpected: number;
}

export interface Counts {
  readonly kinds: Map<string, Count>;
  /** The first few unexpected ends. */
  readonly examples: string[];
  /** Counts one attempt, whose work says how it ended as expected, or throws. */
  attempt(kind: string, work: () => Promise<'succeeded' | 'failed'>): Promise<void>;
  /** Something that was not asked for. */
  surprise(kind: string, what: string): void;
}

export function countsOf(): Counts {
  const kinds = new Map<string, Count>();
  const examples: string[] = [];
  const of = (kind: string): Count => {
    const known = kinds.get(kind) ?? { attempted: 0, succeeded: 0, failed: 0, unexpected: 0 };
    kinds.set(kind, known);
    return known;
  };
  const surprise = (kind: string, what: string) => {
    of(kind).unexpected += 1;
    if (examples.length < 10) examples.push(`${kind}: ${what.slice(0, 400)}`);
  };
  return {
    kinds,
    examples,
    surprise,
    async attempt(kind, work) {
      of(kind).attempted += 1;
      try {
        of(kind)[await work()] += 1;
      } catch (thrown) {
        surprise(kind, thrown instanceof Error ? thrown.message : String(thrown));
      }
    },
  };
}

const hosts = ['web-01'];

/** Throws unless it holds. */
function expecting(holds: boolean, what: string, found: unknown): asserts holds {
  if (!holds) throw new Error(`expected ${what}, found ${JSON.stringify(found)?.slice(0, 300)}`);
}

const brief = ({ stdout, stderr, ...rest }: HostResult) => ({
  ...rest,
  stdout: stdout.slice(0, 60),
  stderr: stderr.slice(0, 60),
});

const oneOf = ({ results, warnings }: Run): HostResult => {
  expecting(warnings.length === 0, 'no warnings', warnings);
  const [result] = results;
  expecting(result !== undefined, 'a result', results);
  return result;
};

type Ask = (lane: number, random: () => number) => Promise<'succeeded' | 'failed'>;

/** What a dispatcher asks of the agent; each kind with how often it comes, and with what has to come of it. */
export function asks(place: Place): readonly { kind: string; weight: number; ask: Ask }[] {
  const { dispatcher } = place;
  const named = (script: ScriptName, lane: number) => `${script}-${lane}`;
  const ran = async (request: Parameters<Dispatcher['run']>[0]) =>
    oneOf(value(await dispatcher.run(request)));
  /** How a run has ended that was submitted, or whose end was not heard. */
  const end = async (reqid: string) => {
    const { outcome, status } = value(await dispatcher.wait(reqid, { timeout: 60 }));
    return { outcome, result: status.results[0] };
  };
  const submitted = async (script: string, args: readonly string[]) => {
    const { reqid, results } = value(await dispatcher.submit({ hosts, script, args }));
    expecting(results[0]?.status === 'accepted', 'accepted', results);
    return reqid;
  };

  const quick: Ask = async (lane, random) => {
    const args = [String(random()), '$(reboot) "; '];
    const result = await ran({ hosts, script: named('quick', lane), args });
    expecting(result.exit === 0 && result.stdout === `${args.join(' ')}\n`, 'its arguments', brief(result));
    return 'succeeded';
  };

  const fail: Ask = async (lane) => {
    const result = await ran({ hosts, script: named('fail', lane), args: [] });
    expecting(result.exit === 3 && result.stderr === 'no space left\n', 'exit 3', brief(result));
    return 'failed';
  };

  const forbidden: Ask = async (lane) => {
    const result = await ran({ hosts, script: `reboot-${lane}`, args: [] });
    expecting(result.exit === -1 && /not permitted/.test(result.error ?? ''), 'a refusal', brief(result));
    return 'failed';
  };

  const big: Ask = async (lane, random) => {
    const bytes = 1_000_000 + Math.floor(random() * 5_000_000);
    const result = await ran({ hosts, script: named('big', lane), args: [String(bytes)] });
    expecting(result.exit === 0 && result.stdout.length === bytes, `${bytes} bytes`, brief(result));
    return 'succeeded';
  };

  const leave: Ask = async (lane) => {
    const result = await ran({ hosts, script: named('leave', lane), args: [] });
    expecting(result.exit === 0 && result.stdout === 'left\n', 'exit 0', brief(result));
    return 'succeeded';
  };

  const timeLimit: Ask = async (lane) => {
    const result = await ran({ hosts, script: named('endless', lane), args: [], timeout: 1 });
    const { exit, error = '' } = result;
    expecting(exit !== 0 && /longer than/.test(error), 'an end by its time limit', brief(result));
    return 'failed';
  };

  const ping: Ask = async () => {
    const { results } = value(await dispatcher.ping({ hosts }));
    expecting(results[0]?.status === 'ok', 'ok', results);
    return 'succeeded';
  };

  const job: Ask = async (lane, random) => {
    const word = String(random());
    const reqid = await submitted(named('job', lane), [word]);
    value(await dispatcher.status(reqid));
    const { outcome, result } = await end(reqid);
    expecting(outcome === 'fine' && result?.stdout === `${word}\n`, 'its output', { outcome, result });
    return 'succeeded';
  };

  const cancelJob: Ask = async (lane, random) => {
    const stubborn = random() < 0.1 ? ['stubborn'] : [];
    const reqid = await submitted(named('endless', lane), stubborn);
    const { results } = value(await dispatcher.cancel(reqid));
    expecting(results[0]?.status === 'cancelling', 'cancelling', results);
    const { outcome, result } = await end(reqid);
    expecting(outcome === 'failed' && result?.state === 'cancelled', 'cancelled', { outcome, result });
    return 'failed';
  };

  const cancelRun: Ask = async (lane) => {
    let reqid = '';
    let cancelling: PromiseLike<unknown> | undefined;
    const result = await ran({
      hosts,
      script: named('endless', lane),
      args: [],
      onBegin: (id) => {
        reqid = id;
      },
      onOutput: () => {
        cancelling ??= dispatcher.cancel(reqid).then(value);
      },
    });
    await cancelling;
    expecting(result.state === 'cancelled' && result.error === 'cancelled', 'cancelled', brief(result));
    return 'failed';
  };

  const talked = 30 * 65_536;
  const follow: Ask = async (lane) => {
    let bytes = 0;
    const result = await ran({
      hosts,
      script: named('talk', lane),
      args: [],
      onOutput: (piece) => {
        bytes += piece.bytes.length;
      },
    });
    expecting(result.exit === 0 && bytes === talked, `${talked} bytes`, { bytes, ...brief(result) });
    return 'succeeded';
  };

  const readerGone: Ask = async (lane) => {
    const gone = new AbortController();
    const result = await ran({
      hosts,
      script: named('talk', lane),
      args: [],
      signal: gone.signal,
      onOutput: () => gone.abort(),
    });
    expecting(['running', 'unknown'].includes(result.state), 'an end that is not heard', brief(result));
    const { outcome, result: heard } = await end(result.reqid);
    expecting(outcome === 'fine' && heard?.exit === 0, 'exit 0 all the same', { outcome });
    return 'succeeded';
  };

  const command: Ask = async (lane) => {
    const { code, stdout, stderr } = await place.run(
      'ctrl-exec',
      'run',
      '--json',
      'web-01',
      named('quick', lane),
    );
    expecting(code === 0 && JSON.parse(stdout).results[0].exit === 0, 'exit 0', { code, stdout, stderr });
    return 'succeeded';
  };

  return [
    { kind: 'run, quick', weight: 30, ask: quick },
    { kind: 'run, failing', weight: 10, ask: fail },
    { kind: 'run, not allowed', weight: 5, ask: forbidden },
    { kind: 'run, 1 to 6 MB of output', weight: 5, ask: big },
    { kind: 'run, grandchildren left', weight: 4, ask: leave },
    { kind: 'run, past its time limit', weight: 2, ask: timeLimit },
    { kind: 'ping', weight: 20, ask: ping },
    { kind: 'async: submit, status, wait', weight: 8, ask: job },
    { kind: 'async, cancelled', weight: 4, ask: cancelJob },
    { kind: 'followed, cancelled', weight: 4, ask: cancelRun },
    { kind: 'followed', weight: 4, ask: follow },
    { kind: 'followed, reader goes away', weight: 4, ask: readerGone },
    { kind: 'command: run --json', weight: 1, ask: command },
  ];
}
