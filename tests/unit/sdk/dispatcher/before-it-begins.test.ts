import { expect, it } from 'vitest';
import { jsonAnswer } from '../../../../src/domain/protocol/http-message.js';
import { failure, value } from '../../../contract/result.js';
import { dispatcherOver, scriptedAgent, withPorts } from '../../../support/fleet/memory-agents.js';
import { identifiedFleet } from '../../../support/fleet/memory-fleet.js';

it('a call whose signal was aborted before sends nothing, records nothing, and is aborted', async () => {
  const { fleet, control } = await identifiedFleet();
  const { seen } = await scriptedAgent(fleet, control, 'web-01', ({ body: { reqid } }) =>
    jsonAnswer(200, { exit: 0, stdout: '', stderr: '', reqid }),
  );
  const { dispatcher } = control;
  const hosts = ['web-01'];
  const signal = AbortSignal.abort();
  const { outcome } = dispatcher.stream({ hosts, script: 'job', signal });
  const ended = [
    await dispatcher.run({ hosts, script: 'job', signal }),
    await outcome,
    await dispatcher.submit({ hosts, script: 'job', signal }),
    await dispatcher.ping({ hosts, signal }),
    await dispatcher.discover({ hosts, signal }),
    await dispatcher.retry('r', { signal }),
    await dispatcher.status('r', { signal }),
    await dispatcher.wait('r', { signal }),
    await dispatcher.cancel('r', { signal }),
    await dispatcher.maintain({ signal }),
    await dispatcher.settleRuns({ signal }),
    await dispatcher.rotate({ signal }),
    await dispatcher.revoke('web-01', { signal }),
    await dispatcher.readmit('web-01', { signal }),
    await dispatcher.rotateCa({ signal }),
  ];
  expect(ended.map((each) => failure<{ readonly code: string }>(each).code)).toEqual(
    ended.map(() => 'aborted'),
  );
  expect(seen).toEqual([]);
  expect(value(await dispatcher.runs()).runs).toEqual([]);
});

it('a log of events that throws fails no run and keeps no lock', async () => {
  const { fleet, control } = await identifiedFleet();
  await scriptedAgent(fleet, control, 'web-01', ({ body: { reqid } }) =>
    jsonAnswer(200, { exit: 0, stdout: 'done', stderr: '', reqid }),
  );
  const events = {
    emit() {
      throw new Error('the log is broken');
    },
  };
  const dispatcher = dispatcherOver(withPorts(control, { events }));
  const { results } = value(await dispatcher.run({ hosts: ['web-01'], script: 'job' }));
  expect(results).toMatchObject([{ exit: 0, stdout: 'done' }]);
  expect(value(await dispatcher.locks())).toEqual([]);
});
