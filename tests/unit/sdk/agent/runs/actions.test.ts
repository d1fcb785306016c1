import { describe, expect, it } from 'vitest';
import { type Actions, concurrencyOf } from '../../../../../src/domain/runs/action.js';
import { createAgent } from '../../../../../src/sdk/agent/agent.js';
import { failure, value } from '../../../../contract/result.js';
import { agentContext, servingAgent } from '../../../../support/fleet/memory-agents.js';
import { deferred } from '../../../../support/network/network.js';

const serving = (actions: Actions, more: Parameters<typeof servingAgent>[0] = {}) =>
  servingAgent({ actions, ...more });

describe('an agent with actions', () => {
  it('needs no allowlist, and takes no directory for one', async () => {
    const agent = await serving(
      { hello: ({ args }) => `hello ${args.join(' ')}` },
      { scripts: null, configuration: 'script_dirs = /opt\n' },
    );
    expect(agent.serving.warnings()).toEqual([]);
    const { json } = await agent.ask({ body: { script: 'hello', args: ['a'], reqid: 'r1' } });
    expect(json).toEqual({ script: 'hello', reqid: 'r1', exit: 0, stdout: 'hello a', stderr: '' });
  });

  it('asks the hook before it calls one', async () => {
    let calls = 0;
    const agent = await serving({
      hello: () => {
        calls += 1;
      },
    });
    agent.policy.outcome = { kind: 'exited', code: 1 };
    const { json } = await agent.ask({ body: { script: 'hello', reqid: 'r1' } });
    expect([json['exit'], json['error'], calls]).toEqual([-1, 'not authorised: denied', 0]);
    agent.policy.outcome = { kind: 'exited', code: 0 };
    await agent.ask({ body: { script: 'hello', reqid: 'r2' } });
    expect(calls).toBe(1);
  });

  it('calls one once for a request id, and answers the same again', async () => {
    let calls = 0;
    const agent = await serving({
      count: () => {
        calls += 1;
        return String(calls);
      },
    });
    for (let time = 0; time < 3; time += 1)
      expect((await agent.ask({ body: { script: 'count', reqid: 'r1' } })).json).toMatchObject({
        stdout: '1',
      });
    expect(calls).toBe(1);
  });

  it('says how many calls at a time one takes, where it is more than one', async () => {
    const actions: Actions = {
      many: { run: () => 0, concurrency: 1000 },
      one: { run: () => 0, concurrency: 1 },
      plain: () => 0,
    };
    const agent = await serving(actions);
    const { json } = await agent.ask({ method: 'GET', path: '/capabilities' });
    const about = { executable: true };
    expect(json['scripts']).toEqual([
      expect.objectContaining({ name: 'greet' }),
      { name: 'many', path: 'action:many', concurrency: 1000, ...about },
      { name: 'one', path: 'action:one', ...about },
      { name: 'plain', path: 'action:plain', ...about },
    ]);
    expect(['many', 'plain', 'greet', 'toString'].map((name) => concurrencyOf(actions, name))).toEqual([
      1000, 1, 1, 1,
    ]);
  });

  it('has a line for each in a self-check', async () => {
    const { context } = await agentContext({ actions: { hello: () => 0 } });
    expect(await createAgent(context).selfCheck()).toContainEqual({
      name: 'action hello',
      ok: true,
      detail: 'a function of this process',
    });
  });

  const circular: Record<string, unknown> = {};
  circular['self'] = circular;
  it.each<[string, unknown, string]>([
    ['a name that no dispatcher can ask for', { 'a b': () => 0 }, 'not a script name'],
    ['what is no function', { hello: 7 }, 'neither a function nor'],
    ['nothing', { hello: undefined }, 'neither a function nor'],
    ['a schema that is no JSON', { hello: { run: () => 0, schema: circular } }, 'not valid JSON'],
    ['a schema that is no object', { hello: { run: () => 0, schema: [] } }, 'not a JSON object'],
    [
      'a schema that is too large',
      { hello: { run: () => 0, schema: { a: 'x'.repeat(65_536) } } },
      'larger than',
    ],
    ...[0, 1001, 1.5, Number.NaN, '2', null].map((concurrency): [string, unknown, string] => [
      `a concurrency of ${JSON.stringify(concurrency)}`,
      { hello: { run: () => 0, concurrency } },
      'no whole number from 1 to 1000',
    ]),
  ])('does not serve with %s', async (_what, actions, said) => {
    const { context } = await agentContext({ actions: actions as Actions });
    const error = failure(await createAgent(context).serve());
    expect(error).toMatchObject({ code: 'invalid_argument', field: 'actions' });
    expect(error.message).toContain(said);
  });

  it('does not serve with a name that the allowlist has, too', async () => {
    const { context } = await agentContext({
      actions: { greet: () => 0 },
      scripts: '# ours\ngreet = /opt/greet\n',
    });
    expect(failure(await createAgent(context).serve())).toMatchObject({
      ...{ code: 'config_invalid', line: 2, file: '/etc/ctrl-exec-agent/scripts.conf' },
      reason: '"greet" is an action of this agent, too: give one of them another name',
    });
  });

  it('keeps the place of one that goes on when its time is up, until it has ended', async () => {
    const over = deferred();
    const agent = await serving(
      { stubborn: () => over.promise, quick: () => 0 },
      { configuration: 'max_runs = 1\n' },
    );
    const late = await agent.ask({ body: { script: 'stubborn', reqid: 'r1', timeout: 1 } });
    expect(late.json).toMatchObject({ exit: 126, error: expect.stringContaining('it goes on') });
    expect((await agent.ask({ body: { script: 'quick', reqid: 'r2' } })).status).toBe(503);
    over.resolve();
    await expect.poll(async () => (await agent.ask({ body: { script: 'quick' } })).status).toBe(200);
  });

  it('that was cancelled and goes on is a run that was cancelled', async () => {
    const over = deferred();
    const begun = deferred();
    const agent = await serving({
      stubborn: () => {
        begun.resolve();
        return over.promise;
      },
    });
    const answer = agent.ask({ body: { script: 'stubborn', reqid: 'r1' } });
    await begun.promise;
    await agent.ask({ path: '/v2/cancel', body: { reqid: 'r1' } });
    expect((await answer).json['error']).toBe('cancelled, but it goes on: an action cannot be killed');
    const { json } = await agent.ask({ method: 'GET', path: '/result/r1' });
    expect(json['status']).toBe('cancelled');
    over.resolve();
  });
});

describe('a signal', () => {
  it('that is aborted before or while an agent starts keeps it from listening', async () => {
    const { context, heard } = await agentContext();
    const agent = createAgent(context);
    expect(failure(await agent.serve({ signal: AbortSignal.abort() })).code).toBe('aborted');
    expect(heard.options).toBeUndefined();
    const controller = new AbortController();
    const starting = agent.serve({ signal: controller.signal });
    controller.abort();
    expect(failure(await starting).code).toBe('aborted');
    await value(await agent.serve()).close(0);
  });

  it('closes an agent that serves, and so does disposing of it', async () => {
    const { context, events } = await agentContext();
    const agent = createAgent(context);
    const stopped = () => events.events.filter(({ action }) => action === 'stopped').length;
    const controller = new AbortController();
    value(await agent.serve({ signal: controller.signal }));
    controller.abort();
    await expect.poll(stopped).toBe(1);
    {
      await using serving = value(await agent.serve());
      expect(serving.port).toBe(7443);
    }
    expect(stopped()).toBe(2);
  });

  it('ends a self-ping', async () => {
    const { context } = await agentContext();
    const pinged = await createAgent(context).selfPing(undefined, { signal: AbortSignal.abort() });
    expect(failure(pinged).code).toBe('aborted');
  });
});
