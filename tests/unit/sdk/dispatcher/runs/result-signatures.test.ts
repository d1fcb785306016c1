import { beforeEach, describe, expect, it } from 'vitest';
import { type HttpAnswer, jsonAnswer } from '../../../../../src/domain/protocol/http-message.js';
import type { IncomingRequest } from '../../../../../src/ports/listener.js';
import { discover } from '../../../../../src/sdk/dispatcher/fleet/discovery.js';
import { ping } from '../../../../../src/sdk/dispatcher/fleet/ping.js';
import { run } from '../../../../../src/sdk/dispatcher/runs/run.js';
import { signAnswer } from '../../../../../src/sdk/protocol/message-signing.js';
import { value } from '../../../../contract/result.js';
import { locksOf, settling } from '../../../../support/fleet/begun-runs.js';
import { eventsOf } from '../../../../support/fleet/events.js';
import {
  type Answering,
  enrol,
  type Issued,
  issueAgent,
  type Signing,
  scriptedAgent,
  signedBy,
  signerOf,
  withPorts,
} from '../../../../support/fleet/memory-agents.js';
import {
  crypto,
  identifiedFleet,
  type MemoryFleet,
  type TestDispatcher,
} from '../../../../support/fleet/memory-fleet.js';

let fleet: MemoryFleet;
let control: TestDispatcher;
let issued: Issued;

beforeEach(async () => {
  ({ fleet, control } = await identifiedFleet());
  issued = await issueAgent(control, 'web-01');
});

const now = () => fleet.clock.now();
const success: Answering = ({ body }) =>
  jsonAnswer(200, { status: 'ok', exit: 0, stdout: 'shown\n', scripts: [], reqid: body['reqid'] });

const hosts = ['web-01'];
const ran = async (context = control.context) =>
  value(await run(context, { hosts, script: 'greet' })).results;

/** Signs as `web-01` must, and then changes what travels. */
const altered =
  (change: (answer: HttpAnswer) => HttpAnswer): Signing =>
  (answer, request) =>
    change(signedBy(signerOf(issued.credentials), now)(answer, request));

const withoutHeader = (name: string) =>
  altered((answer) => ({ ...answer, headers: answer.headers.filter(([key]) => key !== name) }));

/** Signs the answer for another request than the one that it travels for. */
const forAnother =
  (change: (request: IncomingRequest) => IncomingRequest): Signing =>
  (answer, request) =>
    signAnswer(crypto, signerOf(issued.credentials), answer, change(request), now());

/** A pair that belongs to nobody who is registered as `web-01`. */
const byAnother =
  (signer: () => Promise<Issued>): (() => Promise<Signing>) =>
  async () =>
    signedBy(signerOf((await signer()).credentials), now);

const bad: readonly (readonly [what: string, reason: RegExp, sign: () => Signing | Promise<Signing>])[] = [
  ['is not signed', /^the answer is not signed, and web-01 has signed before/, () => (answer) => answer],
  ['has no signature-input', /./, () => withoutHeader('signature-input')],
  ['has no signature', /./, () => withoutHeader('signature')],
  [
    'has another body than was signed',
    /^digest differs$/,
    () =>
      altered((answer) => ({ ...answer, body: new TextEncoder().encode('{"exit":0,"stdout":"forged"}') })),
  ],
  [
    'has another status than was signed',
    /does not hold/,
    () => altered((answer) => ({ ...answer, status: 202 })),
  ],
  [
    'is signed by another key under the name of the right certificate',
    /does not hold/,
    byAnother(async () => ({
      ...issued,
      credentials: {
        key: (await issueAgent(control, 'web-01')).credentials.key,
        certificate: issued.credentials.certificate,
      },
    })),
  ],
];

describe.each(bad)('an answer that %s', (what, reason, sign) => {
  it('is no result: nothing of it is shown, it is logged, nothing is run again, and the lock stays', async () => {
    const { seen, failures } = await scriptedAgent(fleet, control, 'web-01', success, {
      issued,
      sign: await sign(),
    });
    const results = await ran();
    expect(results).toEqual([
      {
        host: 'web-01',
        script: 'greet',
        state: 'unknown',
        begunAt: now(),
        exit: -1,
        stdout: '',
        stderr: '',
        error: 'unverified result',
        rtt: 0,
        reqid: expect.stringMatching(/^[0-9a-f]{16}$/),
        failure: { code: 'unverified', message: 'unverified result', reason: expect.stringMatching(reason) },
      },
    ]);
    // What it can say of the run is asked, and is no more to be believed.
    const paths = ['/run', '/capabilities'];
    expect(seen.map(({ path }) => path)).toEqual(paths);
    expect(eventsOf(control.events, 'result-unverified')).toEqual(
      paths.map((path) => ({
        action: 'result-unverified',
        level: 'error',
        fields: {
          host: 'web-01:7443',
          path,
          status: what.includes('another status') ? 202 : 200,
          reason: expect.stringMatching(reason),
        },
      })),
    );
    expect(eventsOf(control.events, 'run-result').map(({ fields }) => [fields.exit, fields.error])).toEqual([
      [-1, 'unverified result'],
    ]);
    expect(failures).toEqual([]);
    const [{ reqid } = { reqid: '' }] = results;
    const stored = value(await control.context.runStore.find(reqid));
    expect(stored?.results).toMatchObject([{ host: 'web-01', exit: -1, error: 'unverified result' }]);
    expect(await locksOf(control)).toEqual(['web-01:greet']);
  });

  it('to a ping or a discovery is an error, and nothing of it is used', async () => {
    const tagged = () =>
      jsonAnswer(200, {
        status: 'ok',
        host: 'x',
        version: '9.9.9',
        expiry: 'x',
        tags: { a: 'b' },
        scripts: [],
      });
    const { seen } = await scriptedAgent(fleet, control, 'web-01', tagged, { issued, sign: await sign() });
    const pinged = value(await ping(control.context, { hosts })).results;
    const found = value(await discover(control.context, { hosts })).hosts;
    for (const [result] of [pinged, found])
      expect(result).toMatchObject({ host: 'web-01', status: 'error', error: 'unverified result' });
    expect(JSON.stringify([pinged, found])).not.toContain('9.9.9');
    expect(seen).toHaveLength(2);
    const record = value(await control.context.registry.find('web-01'));
    expect(record?.tags).toEqual({});
    expect(record?.standing.lastContact).toBeUndefined();
  });
});

describe('an answer that was given before', () => {
  it('to another run is no result of this one, although it is signed by the right agent', async () => {
    const given: HttpAnswer[] = [];
    const sign: Signing = (answer, request) => {
      given.push(signedBy(signerOf(issued.credentials), now)(answer, request));
      const [first] = given;
      return first ?? answer;
    };
    const { seen } = await scriptedAgent(
      fleet,
      control,
      'web-01',
      () => jsonAnswer(200, { exit: 0, stdout: 'shown' }),
      {
        issued,
        sign,
      },
    );
    expect(await ran()).toMatchObject([{ exit: 0, stdout: 'shown' }]);
    expect(await ran()).toMatchObject([{ exit: -1, stdout: '', error: 'unverified result' }]);
    expect(seen.map(({ path }) => path)).toEqual(['/run', '/run', '/capabilities']);
    expect(eventsOf(control.events, 'result-unverified')).toHaveLength(2);
  });

  it('by another agent of the same run is no result of this one', async () => {
    let first: HttpAnswer | undefined;
    const other = await issueAgent(control, 'web-02');
    const plain: Answering = () => jsonAnswer(200, { exit: 0, stdout: 'of web-01' });
    await scriptedAgent(fleet, control, 'web-01', plain, {
      issued,
      sign: (answer, request) => {
        first = signedBy(signerOf(issued.credentials), now)(answer, request);
        return first;
      },
    });
    await scriptedAgent(fleet, control, 'web-02', plain, {
      issued: other,
      sign: (answer) => first ?? answer,
    });
    const narrow = withPorts(control, { settings: { ...control.context.settings, maxParallel: 1 } });
    const { results } = value(await run(narrow, { hosts: ['web-01', 'web-02'], script: 'greet' }));
    expect(results).toMatchObject([
      { host: 'web-01', exit: 0, stdout: 'of web-01' },
      { host: 'web-02', exit: -1, stdout: '', error: 'unverified result' },
    ]);
    const refused = eventsOf(control.events, 'result-unverified').map(({ fields }) => fields);
    expect(refused.map(({ path, reason }) => [path, reason])).toEqual([
      ['/run', 'keyid is of another certificate'],
      ['/capabilities', 'keyid is of another certificate'],
    ]);
  });
});

describe('a refusal', () => {
  it.each([401, 403])(
    'of status %i that is signed without the signature of its request is believed',
    async (status) => {
      await scriptedAgent(
        fleet,
        control,
        'web-01',
        () => jsonAnswer(status, { error: 'certificate revoked' }),
        {
          issued,
          sign: forAnother((request) => ({
            ...request,
            headers: request.headers.filter(([name]) => !name.startsWith('signature')),
          })),
        },
      );
      expect(await ran()).toMatchObject([
        { exit: -1, error: expect.stringContaining('refused by the agent: certificate revoked') },
      ]);
      expect(eventsOf(control.events, 'result-unverified')).toEqual([]);
    },
  );

  it('that is not signed is not believed', async () => {
    await scriptedAgent(fleet, control, 'web-01', () => jsonAnswer(403, { error: 'serial mismatch' }), {
      issued,
      sign: (answer) => answer,
    });
    expect(await ran()).toMatchObject([{ exit: -1, error: 'unverified result' }]);
  });
});

it('pins of an issued key stay as they are until an answer verifies', async () => {
  const done = { status: 'done', exit: 0, stdout: '', stderr: '' };
  const plain = settling(
    () => jsonAnswer(200, { exit: 0 }),
    () => done,
  );
  let sign: Signing = (answer) => answer;
  await scriptedAgent(fleet, control, 'web-01', plain, {
    issued,
    registered: 'issued',
    sign: (answer, request) => sign(answer, request),
  });
  const states = async () =>
    value(await control.context.registry.find('web-01'))?.pins.map(({ state }) => state);
  await ran();
  expect(await states()).toEqual(['issued']);
  sign = signedBy(signerOf(issued.credentials), now);
  await ran();
  expect(await states()).toEqual(['active']);
});

describe('what is sent', () => {
  it('has 60 s to live, a nonce of its own each time, and no more headers than it needs', async () => {
    const heads: IncomingRequest[] = [];
    await scriptedAgent(fleet, control, 'web-01', success, {
      issued,
      sign: (answer, request) => {
        heads.push(request);
        return signedBy(signerOf(issued.credentials), now)(answer, request);
      },
    });
    for (const _ of [1, 2, 3]) await ran();
    value(await discover(control.context, { hosts }));
    const inputs = heads.map(
      ({ headers }) => headers.find(([name]) => name === 'signature-input')?.[1] ?? '',
    );
    const nonces = inputs.map((input) => /;nonce="([A-Za-z0-9_-]{22})"/.exec(input)?.[1]);
    expect(new Set(nonces).size).toBe(4);
    expect(nonces).not.toContain(undefined);
    for (const input of inputs) {
      const [, created, expires] = /;created=(\d+);expires=(\d+);/.exec(input) ?? [];
      expect(Number(created)).toBe(Math.floor(now() / 1000));
      expect(Number(expires) - Number(created)).toBe(60);
    }
    const names = heads.map(({ headers }) => headers.map(([name]) => name));
    const signature = ['content-digest', 'ctrl-exec-target', 'signature-input', 'signature'];
    expect(names[0]).toEqual(['host', 'content-type', ...signature]);
    expect(names.at(-1)).toEqual(['host', ...signature]);
    expect(heads[0]?.headers[0]).toEqual(['host', 'web-01:7443']);
  });

  it('is signed for the key that answers, whichever of those that are pinned that is', async () => {
    const agent = fleet.agent('web-01');
    await enrol(control, agent, 'web-01');
    const serving = value(await agent.agent.serve());
    expect((await ran())[0]).toMatchObject({ exit: 0 });
    // It has a new key, and the connection of before is kept.
    await enrol(control, agent, 'web-01');
    expect((await ran())[0]).toMatchObject({ exit: -1, error: expect.stringContaining('wrong identity') });
    value(await serving.reload());
    expect((await ran())[0]).toMatchObject({ exit: 0 });
    expect(eventsOf(control.events, 'result-unverified')).toEqual([]);
    expect(eventsOf(agent.events, 'request-unverified')).toEqual([]);
  });
});
