import { beforeEach, describe, expect, it } from 'vitest';
import { jsonAnswer } from '../../../../src/domain/protocol/http-message.js';
import { guarded } from '../../../../src/sdk/core/callback.js';
import { discover } from '../../../../src/sdk/dispatcher/fleet/discovery.js';
import { ping } from '../../../../src/sdk/dispatcher/fleet/ping.js';
import { run } from '../../../../src/sdk/dispatcher/runs/run.js';
import { eventsOf } from '../../../support/fleet/events.js';
import { type Answering, scriptedAgent } from '../../../support/fleet/memory-agents.js';
import {
  identifiedFleet,
  type MemoryFleet,
  type TestDispatcher,
} from '../../../support/fleet/memory-fleet.js';
import { deferred } from '../../../support/network/network.js';

let fleet: MemoryFleet;
let control: TestDispatcher;

beforeEach(async () => {
  ({ fleet, control } = await identifiedFleet());
});

const answers: Answering = ({ path, body: { reqid } }) =>
  jsonAnswer(200, path === '/capabilities' ? { scripts: [] } : { status: 'ok', exit: 0, stdout: '', reqid });

const hosts = ['web-01', 'web-02'];

type Told = ({ host }: { readonly host: string }) => void;

describe('an onResult that throws', () => {
  it.each([
    ['run', (onResult: Told) => run(control.context, { hosts, script: 'greet', onResult }), 'run-result'],
    ['ping', (onResult: Told) => ping(control.context, { hosts, onResult }), 'ping'],
    ['discovery', (onResult: Told) => discover(control.context, { hosts, onResult }), 'discovery'],
  ] as const)(
    'at the first result is told the others, and thrown on when all of %s is done',
    async (_name, ask, action) => {
      const slow = deferred();
      let underWay = 0;
      await scriptedAgent(fleet, control, 'web-01', answers);
      await scriptedAgent(fleet, control, 'web-02', async (request) => {
        underWay += 1;
        await slow.promise;
        underWay -= 1;
        return answers(request);
      });
      const told: string[] = [];
      const bugs: Error[] = [];
      const thrown = await Promise.resolve(
        ask(({ host }) => {
          told.push(host);
          const bug = new Error(host);
          bugs.push(bug);
          setTimeout(slow.resolve, 0);
          throw bug;
        }),
      ).then(
        () => 'nothing was thrown',
        (error: unknown) => error,
      );
      expect(underWay).toBe(0);
      expect(thrown).toBe(bugs[0]);
      expect(told).toEqual(hosts);
      expect(eventsOf(control.events, action).map(({ fields }) => fields.host)).toEqual(hosts);
    },
  );
});

describe('a guarded callback', () => {
  it('that throws nothing leaves nothing to be thrown, and there need be none', () => {
    const told: number[] = [];
    const callback = guarded<number>((value) => told.push(value));
    callback.tell(1);
    callback.rethrow();
    expect(told).toEqual([1]);
    const none = guarded<number>(undefined);
    none.tell(1);
    none.rethrow();
  });

  it('may throw whatever there is: undefined, too, is passed on', () => {
    const callback = guarded<number>(() => {
      throw undefined;
    });
    callback.tell(1);
    let thrown = false;
    try {
      callback.rethrow();
    } catch {
      thrown = true;
    }
    expect(thrown).toBe(true);
  });
});
