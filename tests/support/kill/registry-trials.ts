import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { start } from '../commands/commands.js';
import { eventually } from '../fleet/fleet.js';
import { control, copy, noLocks, type Row, refuses, rowsOf, succeeds, type Templates } from './fleet.js';
import { leftovers } from './looks.js';
import type { Outcome, Round, Trial } from './rounds.js';

async function endsClean(home: string): Promise<void> {
  await noLocks(home);
  const left = leftovers(home);
  if (left.length > 0) throw new Error(`left behind: ${left.join(', ')}`);
}

const serve = (home: string) => start('ctrl-exec-agent', ['serve', '--port', '0'], { home });

/** Changes of the registry, and runs. */
export function registryTrials(templates: () => Templates): readonly Trial[] {
  /** A command that makes the rows of `before` those of `after`, and is repeated then. */
  const rowRound = async (
    home: string,
    args: readonly string[],
    after: (before: readonly Row[]) => readonly Row[],
    repeat: (outcome: Outcome) => Promise<unknown>,
  ): Promise<Round> => {
    const before = await rowsOf(home);
    const wanted = after(before);
    return {
      writes: [join(home, 'state')],
      begin: (options) => ({ command: start('ctrl-exec', args, { home, ...options }) }),
      judge: async () => {
        const rows = await rowsOf(home);
        if (isDeepStrictEqual(rows, wanted)) return 'new';
        if (isDeepStrictEqual(rows, before)) return 'old';
        throw new Error(`a mixture: ${JSON.stringify(rows)} of ${JSON.stringify(before)}`);
      },
      again: async (outcome) => {
        await repeat(outcome);
        if (!isDeepStrictEqual(await rowsOf(home), wanted))
          throw new Error('the second time it does not work');
        await endsClean(home);
      },
    };
  };
  const edit = (place: string, change: Partial<Row>, ...options: string[]) => {
    const home = copy(templates().paired, place, 'dispatcher');
    const args = ['edit-agent', 'web-01', ...options];
    return rowRound(
      home,
      args,
      (rows) => rows.map((row) => ({ ...row, ...change })),
      (outcome) =>
        outcome === 'new' && change.name !== undefined
          ? refuses(control(home, ...args), /no agent of that name is registered/)
          : succeeds(control(home, ...args)),
    );
  };

  return [
    {
      name: 'edit-agent',
      weight: 12,
      prepare: (place, number) =>
        number % 2 === 0
          ? edit(place, { port: 9999, ip: '192.0.2.9' }, '--agent-port', '9999', '--ip', '192.0.2.9')
          : edit(
              place,
              { name: 'web-02', port: 9999, ip: '192.0.2.9', lookup_by: 'ip' },
              ...['--rename', 'web-02', '--agent-port', '9999', '--ip', '192.0.2.9', '--lookup-by', 'ip'],
            ),
    },
    {
      name: 'unpair',
      weight: 8,
      prepare: async (place) => {
        const home = copy(templates().paired, place, 'dispatcher');
        return rowRound(
          home,
          ['unpair', 'web-01'],
          () => [],
          (outcome) =>
            outcome === 'new'
              ? refuses(control(home, 'unpair', 'web-01'), /no agent of that name is registered/)
              : succeeds(control(home, 'unpair', 'web-01')),
        );
      },
    },
    {
      name: 'discovery',
      weight: 8,
      prepare: async (place) => {
        const home = copy(templates().paired, place, 'dispatcher');
        const daemon = serve(copy(templates().agent, place, 'agent'));
        const args = ['discovery', '--port', await daemon.shows(/Serving on .*:(\d+)/)];
        return rowRound(
          home,
          args,
          (rows) => rows.map((row) => ({ ...row, tags: { role: 'web' } })),
          () => succeeds(control(home, ...args)).then(() => daemon.stop()),
        );
      },
    },
    {
      name: 'run',
      weight: 12,
      prepare: (place) => killedRun(place, templates()),
    },
  ];
}

/** The dispatcher's side of a run is killed; the script has run once or not at all, and its lock is in the way no longer than it runs. */
async function killedRun(place: string, templates: Templates): Promise<Round> {
  const home = copy(templates.paired, place, 'dispatcher');
  const agentHome = copy(templates.agent, place, 'agent');
  const record = join(place, 'runs');
  const script = join(agentHome, 'note');
  writeFileSync(script, `#!/bin/sh\necho run >> ${record}\nsleep 0.3\n`);
  chmodSync(script, 0o755);
  writeFileSync(join(agentHome, 'scripts.conf'), `note = ${script}\n`);
  const daemon = serve(agentHome);
  const port = await daemon.shows(/Serving on .*:(\d+)/);
  const args = ['run', 'web-01', 'note', '--port', port];
  const runs = () => (existsSync(record) ? readFileSync(record, 'utf8').split('\n').length - 1 : 0);
  let killed = 0;
  return {
    writes: [join(home, 'state')],
    begin: (options) => ({ command: start('ctrl-exec', args, { home, ...options }) }),
    judge: async () => {
      killed = runs();
      if (killed > 1) throw new Error('the script ran twice');
      return killed === 1 ? 'new' : 'old';
    },
    again: async () => {
      await eventually(async () => void (await succeeds(control(home, ...args))));
      await noLocks(home);
      // What was on its way when the dispatcher died may have arrived since.
      if (![killed + 1, 2].includes(runs())) throw new Error(`${runs()} runs in all`);
      await daemon.stop();
      await endsClean(home);
    },
  };
}
