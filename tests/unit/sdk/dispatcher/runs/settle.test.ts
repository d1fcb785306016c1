import { errAsync } from 'neverthrow';
import { beforeEach, expect, it } from 'vitest';
import { failure as errorOf } from '../../../../../src/domain/core/errors.js';
import { jsonAnswer } from '../../../../../src/domain/protocol/http-message.js';
import { value } from '../../../../contract/result.js';
import {
  dispatcherOver,
  type Seen,
  scriptedAgent,
  withPorts,
} from '../../../../support/fleet/memory-agents.js';
import {
  identifiedFleet,
  type MemoryFleet,
  type TestDispatcher,
} from '../../../../support/fleet/memory-fleet.js';
import { interposed } from '../../../../support/network/interposed.js';

let fleet: MemoryFleet;
let control: TestDispatcher;

beforeEach(async () => {
  ({ fleet, control } = await identifiedFleet());
});

/** Accepts async runs, and says of each that it has ended so, or still runs. */
const asyncAgent = (name: string, end: () => number | undefined | 'broken') =>
  scriptedAgent(fleet, control, name, ({ path, body }: Seen) => {
    if (path === '/run') return jsonAnswer(202, { script: 'job', status: 'accepted', reqid: body['reqid'] });
    if (path === '/capabilities') return jsonAnswer(200, { scripts: [], features: ['settle'] });
    const reqid = body['reqid'];
    const base = { reqid, script: 'job', owner: 'control.test', started: '2026-01-01T00:00:00Z' };
    const exit = end();
    if (exit === 'broken') return jsonAnswer(200, { nothing: 'that one knows' });
    if (exit === undefined) return jsonAnswer(200, { ...base, status: 'running' });
    const finished = '2026-01-01T00:00:05Z';
    return jsonAnswer(200, { ...base, status: 'done', finished, exit, stdout: 'out', stderr: '' });
  });
const submit = async (host: string, script = 'job') =>
  value(await control.dispatcher.submit({ hosts: [host], script })).reqid;
const listed = async () => value(await control.dispatcher.runs()).runs.map(({ outcome }) => outcome);
const settle = async () => value(await control.dispatcher.settleRuns());
const later = (milliseconds: number) => fleet.clock.advance(milliseconds);

it('records how runs ended that nobody asked about, but leaves the first half minute to others', async () => {
  let exit: number | undefined;
  const agent = await asyncAgent('web-01', () => exit);
  const reqid = await submit('web-01');
  expect(await settle()).toEqual({ settled: [], failed: [] });
  await later(31_000);
  expect(await settle()).toEqual({ settled: [], failed: [] });
  expect(await listed()).toEqual(['running']);
  exit = 3;
  expect(await settle()).toEqual({ settled: [reqid], failed: [] });
  expect(await listed()).toEqual(['failed']);
  const asked = agent.seen.length;
  expect(await settle()).toEqual({ settled: [], failed: [] });
  expect(agent.seen).toHaveLength(asked);
});

it('asks an agent that gives no answer once, and others all the same', async () => {
  const odd = await asyncAgent('web-01', () => 'broken');
  await asyncAgent('web-02', () => 0);
  const alone = [await submit('web-01'), await submit('web-01', 'other')];
  const other = await submit('web-02');
  const heard = odd.seen.length;
  await later(31_000);
  expect(await settle()).toEqual({ settled: [other], failed: [] });
  expect(odd.seen.slice(heard).map(({ path }) => path)).toEqual(['/capabilities', '/v2/settle']);
  expect((await listed()).toSorted()).toEqual(['running', 'running', 'succeeded']);
  expect(alone).toHaveLength(2);
});

it('turns to no further run when it is stopped', async () => {
  const stop = new AbortController();
  await asyncAgent('web-01', () => {
    stop.abort();
    return 0;
  });
  await submit('web-01');
  await submit('web-01', 'other');
  await later(31_000);
  const stopped = await control.dispatcher.settleRuns({ signal: stop.signal });
  expect(value(stopped).settled.length).toBeLessThanOrEqual(1);
  expect(await listed()).toContain('running');
});

it('asks an agent no second time whose answer was too large, but whoever wants the status does', async () => {
  const agent = await asyncAgent('web-01', () => 0);
  const reqid = await submit('web-01');
  const asked: string[] = [];
  const tooLarge = errorOf('too_large', 'more than 5 bytes', { what: 'answer', limit: 5 });
  const channel = interposed(control.context.channel, {
    exchange(_target, { path }, send) {
      asked.push(path);
      return path === '/v2/settle' ? errAsync({ ...tooLarge, sent: true }) : send();
    },
  });
  const dispatcher = dispatcherOver(withPorts(control, { channel }));
  await later(31_000);
  for (const _ of [1, 2]) expect(value(await dispatcher.settleRuns())).toEqual({ settled: [], failed: [] });
  expect(asked.filter((path) => path === '/v2/settle')).toHaveLength(1);
  expect(await listed()).toEqual(['unknown']);
  expect(value(await dispatcher.status(reqid)).results[0]?.fetchError).toContain('more than 5 bytes');
  expect(value(await control.dispatcher.status(reqid)).results).toMatchObject([{ state: 'succeeded' }]);
  expect(agent.seen.filter(({ path }) => path === '/run')).toHaveLength(1);
});
