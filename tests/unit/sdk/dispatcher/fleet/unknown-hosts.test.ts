import { beforeEach, describe, expect, it } from 'vitest';
import { memoryAuthHook } from '../../../../../src/adapters/memory/auth-hook.js';
import { jsonAnswer } from '../../../../../src/domain/protocol/http-message.js';
import { discover } from '../../../../../src/sdk/dispatcher/fleet/discovery.js';
import { ping } from '../../../../../src/sdk/dispatcher/fleet/ping.js';
import { run, submit } from '../../../../../src/sdk/dispatcher/runs/run.js';
import { failure, value } from '../../../../contract/result.js';
import { scriptedAgent, withPorts } from '../../../../support/fleet/memory-agents.js';
import {
  identifiedFleet,
  type MemoryFleet,
  type TestDispatcher,
} from '../../../../support/fleet/memory-fleet.js';

let fleet: MemoryFleet;
let control: TestDispatcher;
let seen: readonly unknown[];

beforeEach(async () => {
  ({ fleet, control } = await identifiedFleet());
  ({ seen } = await scriptedAgent(fleet, control, 'web-01', ({ body }) =>
    jsonAnswer(200, { exit: 0, stdout: '', stderr: '', reqid: body['reqid'] }),
  ));
});

const refused = { onUnknown: 'refuse' } as const;
const script = 'greet';

describe('a name that is neither registered nor resolves', () => {
  it.each([
    ['run', (hosts: string[]) => run(control.context, { hosts, script, ...refused })],
    ['submit', (hosts: string[]) => submit(control.context, { hosts, script, ...refused })],
    ['ping', (hosts: string[]) => ping(control.context, { hosts, ...refused })],
    ['discover', (hosts: string[]) => discover(control.context, { hosts, ...refused })],
  ])('refuses the whole request of %s before anything is sent', async (_, ask) => {
    const error = failure(await ask(['web-01', 'wbe-01', 'slow']));
    expect(error).toMatchObject({ code: 'target_unknown', word: 'wbe-01', closest: ['web-01'] });
    expect(error.message).toBe(
      'unknown host wbe-01, which is not registered here and does not resolve: did you mean web-01?',
    );
    expect(failure(await ask(['slow', 'web-01']))).toMatchObject({ word: 'slow', closest: [] });
    expect(seen).toEqual([]);
    expect(value(await control.dispatcher.runs()).runs).toEqual([]);
  });

  it('is the error of that host where that is asked for, as it is by default', async () => {
    for (const asked of [{}, { onUnknown: 'report' } as const]) {
      const { results } = value(await run(control.context, { hosts: ['web-01', 'slow'], script, ...asked }));
      expect(results).toMatchObject([
        { exit: 0 },
        { exit: -1, error: 'slow is not registered here; the host name slow does not resolve' },
      ]);
    }
  });

  it('tells nobody what is registered who may not ask', async () => {
    const context = withPorts(control, {
      hook: memoryAuthHook(() => ({ kind: 'exited', code: 1 })),
    });
    const error = failure(await ping(context, { hosts: ['wbe-01'], ...refused }));
    expect(error.code).toBe('denied');
  });
});

it.each(['slow:7443', 'slow.test', '192.0.2.200', '[2001:db8::1]', '2001:db8::1', 'control.test'])(
  '%s is used as it stands',
  async (host) => {
    const { results } = value(await ping(control.context, { hosts: ['web-01', host], ...refused }));
    expect(results[1]).toMatchObject({ host, status: 'error' });
  },
);

it('a resolver that fails proves nothing, and is not asked about registered names', async () => {
  const asked: string[] = [];
  const { channel } = control.context;
  const isUnknownHost = async (host: string) => {
    asked.push(host);
    return false;
  };
  const context = withPorts(control, { channel: { ...channel, isUnknownHost } });
  const { results } = value(await run(context, { hosts: ['WEB-01', 'slow'], script, ...refused }));
  expect(results).toMatchObject([{ exit: 0 }, { exit: -1 }]);
  expect(asked).toEqual(['slow']);
});
