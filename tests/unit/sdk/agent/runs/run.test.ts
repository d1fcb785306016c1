import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { processOutcome } from '../../../../../src/adapters/memory/process-runner.js';
import type { ProcessOutcome, ProcessRequest } from '../../../../../src/ports/process-runner.js';
import { type AgentOptions, servingAgent } from '../../../../support/fleet/memory-agents.js';

const reqid = 'a3f9b2c100010002';

/** An agent whose one script is watched. */
async function watched(options: AgentOptions & { outcome?: ProcessOutcome } = {}) {
  const started: ProcessRequest[] = [];
  const agent = await servingAgent({
    programs: {
      '/opt/greet': (request) => {
        started.push(request);
        return options.outcome ?? processOutcome(0, 'out', 'err');
      },
    },
    ...options,
  });
  return { ...agent, started };
}

describe('the rows of wire-protocol 1.2', () => {
  it('a script that ran: exit, output and reqid', async () => {
    const { ask } = await watched();
    const told = await ask({ body: { script: 'greet', args: ['--db', 'app'], reqid } });
    expect(told.status).toBe(200);
    expect(told.headers).toEqual([['content-type', 'application/json']]);
    expect(told.json).toEqual({ script: 'greet', exit: 0, stdout: 'out', stderr: 'err', reqid });
  });

  it.each([1, 2, 126, 127, 255])('exit %i is passed on', async (code) => {
    const { ask } = await watched({ outcome: processOutcome(code, '', '') });
    expect((await ask({ body: { script: 'greet' } })).json).toEqual({
      script: 'greet',
      exit: code,
      stdout: '',
      stderr: '',
    });
  });

  it.each([
    ['nothing', ''],
    ['no JSON', '{'],
    ['a list', '[]'],
    ['a text', '"greet"'],
    ['null', 'null'],
    ['a name twice', '{"script":"greet","script":"greet"}'],
    ['__proto__', '{"script":"greet","__proto__":{}}'],
    ['bytes that are no UTF-8', Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d)],
    ['deep nesting', `{"script":"greet","x":${'['.repeat(70)}${']'.repeat(70)}}`],
  ])('a body of %s: invalid JSON', async (_what, body) => {
    const { ask, started, asked } = await watched();
    const told = await ask({ body });
    expect([told.status, told.json]).toEqual([200, { exit: -1, error: 'invalid JSON' }]);
    expect([started, asked]).toEqual([[], []]);
  });

  it.each(['x', 5, null, true, { 0: 'a', length: 1 }])('args %j: args must be an array', async (args) => {
    const { ask, started, asked } = await watched();
    const told = await ask({ body: { script: 'greet', args, reqid } });
    expect([told.status, told.json]).toEqual([200, { exit: -1, error: 'args must be an array', reqid }]);
    expect([started, asked]).toEqual([[], []]);
  });

  it('args are looked at before the name', async () => {
    const { ask } = await watched();
    expect((await ask({ body: { script: '../sh', args: 'x', reqid } })).json['error']).toBe(
      'args must be an array',
    );
  });

  it.each(['other', 'GREET', 'greet ', 'gre\0et', '../greet', '/opt/greet', '', '__proto__', 'constructor'])(
    'the name %j: script not permitted',
    async (script) => {
      const { ask, started, asked } = await watched();
      const told = await ask({ body: { script, args: [], reqid } });
      expect([told.status, told.json]).toEqual([
        200,
        { script, exit: -1, error: 'script not permitted', reqid },
      ]);
      expect([started, asked]).toEqual([[], []]);
    },
  );

  it.each([5, null, ['greet'], { name: 'greet' }, true])(
    'the name %j, no text: script not permitted',
    async (script) => {
      const { ask, started } = await watched();
      expect((await ask({ body: { script, reqid } })).json).toEqual({
        exit: -1,
        error: 'script not permitted',
        reqid,
      });
      expect((await ask({ body: { reqid } })).json).toEqual({
        exit: -1,
        error: 'script not permitted',
        reqid,
      });
      expect(started).toEqual([]);
    },
  );

  it('the name is looked at before what the arguments are', async () => {
    const { ask } = await watched();
    expect((await ask({ body: { script: 'other', args: [5] } })).json['error']).toBe('script not permitted');
  });

  it.each([[5], [null], ['a\0b'], [['a']], [{}], [true], ['fine', '\0']])(
    'an argument of %j: args must be strings without NUL',
    async (...args) => {
      const { ask, started, asked } = await watched();
      const told = await ask({ body: { script: 'greet', args, reqid } });
      expect([told.status, told.json]).toEqual([
        200,
        { script: 'greet', exit: -1, error: 'args must be strings without NUL', reqid },
      ]);
      expect([started, asked]).toEqual([[], []]);
    },
  );

  it.each([
    ['1', '1'],
    ['-1', '-1'],
    ['1.5', '1.5'],
    ['1.0', '1'],
    ['1e3', '1000'],
    ['9007199254740991', '9007199254740991'],
    ['true', 'true'],
    ['false', 'false'],
    ['"é"', 'é'],
  ])('an argument that a legacy dispatcher gives as %s is %s', async (written, text) => {
    const { ask, started } = await watched({ configuration: 'accept_legacy_dispatchers = yes\n' });
    const body = `{"script":"greet","args":["a",${written}],"reqid":"${reqid}"}`;
    expect((await ask({ unsigned: true, body })).json).toMatchObject({ exit: 0 });
    expect(started.map(({ args }) => args)).toEqual([['a', text]]);
  });

  it.each(['9007199254740992', '12345678901234567890', '-1e300', 'null', '["a"]', '{}', '"a\\u0000"'])(
    'an argument that a legacy dispatcher gives as %s is refused',
    async (written) => {
      const { ask, started } = await watched({ configuration: 'accept_legacy_dispatchers = yes\n' });
      const body = `{"script":"greet","args":[${written}],"reqid":"${reqid}"}`;
      expect((await ask({ unsigned: true, body })).json).toEqual({
        ...{ script: 'greet', exit: -1, reqid },
        error: 'args must be strings without NUL',
      });
      expect(started).toEqual([]);
    },
  );

  it.each([
    [{ kind: 'exited', code: 1 }, 'denied'],
    [{ kind: 'exited', code: 2 }, 'bad credentials'],
    [{ kind: 'exited', code: 3 }, 'insufficient privilege'],
    [{ kind: 'exited', code: 99 }, 'hook exited 99'],
    [{ kind: 'signalled', signal: 'SIGSEGV' }, 'hook killed by SIGSEGV'],
    [{ kind: 'timed-out', seconds: 10 }, 'hook timed out after 10 s'],
    [{ kind: 'not-run', reason: 'EACCES' }, 'hook could not be executed: EACCES'],
  ] as const)('a hook that ends as %j: not authorised', async (outcome, reason) => {
    const { ask, started, policy, events } = await watched();
    policy.outcome = outcome;
    const error = `not authorised: ${reason}`;
    const told = await ask({ body: { script: 'greet', reqid } });
    expect([told.status, told.json]).toEqual([200, { script: 'greet', exit: -1, error, reqid }]);
    expect(started).toEqual([]);
    expect(events.events.at(-1)).toMatchObject({
      action: 'run-refused',
      level: 'warning',
      fields: { script: 'greet', reqid, dispatcher: 'control', ip: '192.0.2.1', reason: error },
    });
  });

  it.each([{ kind: 'none' }, { kind: 'exited', code: 0 }] as const)(
    'a hook that ends as %j: it runs',
    async (outcome) => {
      const { ask, started, policy } = await watched();
      policy.outcome = outcome;
      expect((await ask({ body: { script: 'greet' } })).json).toMatchObject({ exit: 0 });
      expect(started.length).toBe(1);
    },
  );

  it('the hook is asked with everything, the dispatcher that called included', async () => {
    const { ask, asked } = await watched();
    await ask({ body: { script: 'greet', args: ['a', ''], reqid, username: 'alice', token: 't0k' } });
    expect(asked).toEqual([
      {
        action: 'run',
        script: 'greet',
        hosts: [],
        args: ['a', ''],
        username: 'alice',
        token: 't0k',
        sourceIp: '192.0.2.1',
        timestamp: '2026-05-06T07:08:09Z',
        dispatcher: { id: 'control', serial: 'abc123' },
      },
    ]);
  });

  it('killed by a signal: exit 126 and which', async () => {
    const end = { kind: 'signalled', signal: 'SIGKILL' } as const;
    const { ask } = await watched({ outcome: processOutcome(end, 'so far', '') });
    expect((await ask({ body: { script: 'greet', reqid } })).json).toEqual({
      script: 'greet',
      exit: 126,
      error: 'killed by SIGKILL',
      stdout: 'so far',
      stderr: '',
      reqid,
    });
  });

  it('could not be executed: exit 126 and why', async () => {
    const { ask } = await watched({ programs: {} });
    const { json } = await ask({ body: { script: 'greet', reqid } });
    expect(json).toMatchObject({ script: 'greet', exit: 126, stdout: '', stderr: '', reqid });
    expect(json['error']).toContain('ENOENT');
  });

  it('output beyond max_output: head, tail and how much there was of each stream that was cut', async () => {
    const { ask } = await watched({
      configuration: 'max_output = 10\n',
      outcome: processOutcome(0, '0123456789abcdefghij', 'short'),
    });
    expect((await ask({ body: { script: 'greet' } })).json).toEqual({
      script: 'greet',
      exit: 0,
      stdout: '01234fghij',
      stderr: 'short',
      truncated: { stdout: 20 },
    });
  });

  it('output that is no UTF-8 is shown as far as it can be, a byte order mark included', async () => {
    const bytes = Uint8Array.of(0xef, 0xbb, 0xbf, 0x61, 0xff, 0x62);
    const { ask } = await watched({ outcome: processOutcome(0, bytes, '') });
    expect((await ask({ body: { script: 'greet' } })).json).toEqual({
      script: 'greet',
      exit: 0,
      stdout: '\ufeffa\ufffdb',
      stdout_base64: Buffer.from(bytes).toString('base64'),
      stderr: '',
    });
  });

  it('a run that is both async and streamed is refused', async () => {
    const { ask, started } = await watched();
    const { json } = await ask({ body: { script: 'greet', reqid, async: true, stream: true } });
    expect(json).toEqual({ script: 'greet', exit: -1, reqid, error: 'an async run cannot be streamed' });
    expect(started).toEqual([]);
  });

  it('what a run left behind is named', async () => {
    const left = (pids: readonly number[]) => ({ ...processOutcome(0), pipesHeldBy: pids });
    const { ask } = await watched({ outcome: left([11, 12]) });
    expect((await ask({ body: { script: 'greet' } })).json['left_behind']).toEqual({
      count: 2,
      pids: [11, 12],
    });
    const unseen = await watched({ outcome: left([]) });
    expect((await unseen.ask({ body: { script: 'greet' } })).json['left_behind']).toEqual({ pids: [] });
  });
});

describe('the reqid', () => {
  it.each(['x', 'A_b-9', 'x'.repeat(64)])('%j is echoed', async (id) => {
    const { ask } = await watched();
    expect((await ask({ body: { script: 'greet', reqid: id } })).json['reqid']).toBe(id);
  });

  it.each([undefined, null, 5, '', 'a b', 'x\ny', 'x'.repeat(65), ['x']])(
    '%j is not, and does not harm',
    async (id) => {
      const { ask, started } = await watched();
      const { json } = await ask({ body: { script: 'greet', reqid: id } });
      expect(json).toMatchObject({ exit: 0 });
      expect(json).not.toHaveProperty('reqid');
      expect(JSON.parse(new TextDecoder().decode(started[0]?.stdin))).toMatchObject({ reqid: '' });
    },
  );
});

describe('what the script gets', () => {
  it('is the path of the allowlist, the arguments as they are, and the limits of the configuration', async () => {
    const { ask, started } = await watched({ configuration: 'stdin_timeout = 3\nmax_output = 1000\n' });
    const args = ['', ' ', '--x=$(id)', 'ü\n"\u0001', '-'];
    await ask({ body: { script: 'greet', args } });
    expect(started).toMatchObject([
      {
        path: '/opt/greet',
        args,
        env: { PATH: '/usr/bin' },
        stdinTimeout: 3000,
        timeout: 0,
        maxOutput: 1000,
      },
    ]);
  });

  it('on standard input is one JSON object of eight members', async () => {
    const { ask, started } = await watched();
    await ask({ body: { script: 'greet', args: ['a'], reqid, username: 'alice', token: 't0k', other: 'x' } });
    expect(JSON.parse(new TextDecoder().decode(started[0]?.stdin))).toEqual({
      script: 'greet',
      args: ['a'],
      reqid,
      peer_ip: '192.0.2.1',
      username: 'alice',
      token: 't0k',
      dispatcher: 'control',
      timestamp: '2026-05-06T07:08:09Z',
    });
  });

  it('has empty texts for what was not said or was no text', async () => {
    const { ask, started } = await watched();
    await ask({ body: { script: 'greet', username: 5, token: ['t'] } });
    expect(JSON.parse(new TextDecoder().decode(started[0]?.stdin))).toMatchObject({
      args: [],
      reqid: '',
      username: '',
      token: '',
    });
  });

  it('reaches the log without arguments, token and output', async () => {
    const { ask, events } = await watched({ outcome: processOutcome(4, 'printed', 'complained') });
    await ask({
      body: { script: 'greet', args: ['--pw=hunter2'], reqid, username: 'alice', token: 's3cret' },
    });
    expect(events.events.slice(-2)).toEqual([
      {
        action: 'run-start',
        fields: { script: 'greet', reqid, dispatcher: 'control', ip: '192.0.2.1', username: 'alice' },
      },
      {
        action: 'run-end',
        level: 'warning',
        fields: {
          script: 'greet',
          reqid,
          dispatcher: 'control',
          ip: '192.0.2.1',
          exit: 4,
          ms: 0,
          error: undefined,
        },
      },
    ]);
    expect(JSON.stringify(events.events)).not.toMatch(/hunter2|s3cret|printed|complained/);
  });
});

it('whatever a dispatcher sends, the answer is JSON of the known form and only the allowlisted runs', async () => {
  const { ask, started } = await watched();
  const ids = new Set<unknown>();
  const member = fc.oneof(fc.string({ unit: 'binary' }), fc.jsonValue());
  const body = fc
    .record(
      {
        script: fc.oneof(fc.constant('greet'), member),
        args: fc.oneof(fc.array(fc.string({ unit: 'binary' })), member),
        reqid: member,
        username: member,
        token: member,
        timeout: fc.oneof(fc.integer(), member),
        async: fc.oneof(fc.boolean(), member),
      },
      { requiredKeys: [] },
    )
    .map((value) => JSON.stringify(value));
  await fc.assert(
    fc.asyncProperty(fc.oneof(body, fc.string(), fc.json()), async (text) => {
      started.length = 0;
      const told = await ask({ body: text });
      expect(told.status).toBe(200);
      expect(Number.isInteger(told.json['exit'])).toBe(true);
      if (told.json['exit'] === -1) {
        expect(typeof told.json['error']).toBe('string');
        expect(started).toEqual([]);
      } else {
        const { reqid: id } = told.json;
        expect(started).toMatchObject(id !== undefined && ids.has(id) ? [] : [{ path: '/opt/greet' }]);
        ids.add(id);
      }
    }),
    { numRuns: 300 },
  );
});
