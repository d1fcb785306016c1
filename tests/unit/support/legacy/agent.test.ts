import { describe, expect, it } from 'vitest';
import { startLegacyAgent } from '../../../support/legacy/agent.js';
import { legacyCa } from '../../../support/legacy/ca.js';
import { legacyDispatcher } from '../../../support/legacy/dispatcher.js';
import { legacySerialScript } from '../../../support/legacy/run.js';
import { openTcp, openTls, received } from '../../../support/network/raw-tls.js';
import { answered, here, legacyInstallation, posted, versions } from './shared-installation.js';

const { installation, agentOf, peers, send } = legacyInstallation();
const mismatch = { status: '403 Forbidden', body: { error: 'serial mismatch', status: 'forbidden' } };

/** What an agent says to who shows no certificate. */
async function unknown(port: number, request: string): Promise<string> {
  const socket = await openTls(port);
  const answer = received(socket);
  socket.write(request);
  return answer;
}

describe('a simulated agent takes a request', () => {
  const body = '{"script":"echo","args":["x"]}';

  it.each([
    ['with line feeds alone', `POST /run HTTP/1.0\ncontent-length: ${body.length}\n\n${body}`],
    ['with names of any case', `POST /run HTTP/1.1\r\nCONTENT-length:${body.length}\r\n\r\n${body}`],
    [
      'with a length that is repeated: the last counts',
      `POST /run x\r\nContent-Length: 1\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    ],
    [
      'with lines that are no header, and long ones',
      `POST /run HTTP/1.1\r\n folded\r\nX: ${'x'.repeat(20_000)}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    ],
    ['with more than its body', `${posted('/run', body)}POST /ping HTTP/1.1\r\n\r\n`],
  ])('%s', async (_, request) => {
    const agent = await agentOf('0.11');
    expect(answered(await send(agent.port, request))).toMatchObject({
      status: '200 OK',
      body: { exit: 0, stdout: 'x\n' },
    });
    expect(agent.exchanges).toHaveLength(1);
  });

  it.each([
    ['33 header lines', `POST /run HTTP/1.1\r\n${'X: 1\r\n'.repeat(33)}`, 'too many headers'],
    ['a body above 1 MiB', 'POST /run HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n', 'request too large'],
    ['no request line', '\r\n', 'empty request'],
    ['an unknown path', 'POST /v2/cancel HTTP/1.1\r\n\r\n', 'not found'],
    ['a query', 'POST /run?x HTTP/1.1\r\n\r\n', 'not found'],
    ['another method', 'GET /run HTTP/1.1\r\n\r\n', 'not found'],
  ])('but not with %s', async (_, request, error) => {
    const agent = await agentOf('0.11');
    expect(answered(await send(agent.port, request)).body).toEqual({ error });
  });

  it.each(['[]', '"text"', '1'])('and dies of a body that is %s', async (text) => {
    const agent = await agentOf('0.11');
    expect(await send(agent.port, posted('/run', text))).toBe('');
    expect(await send(agent.port, posted('/ping', text))).toBe('');
  });
});

describe('who a simulated agent answers', () => {
  it.each(versions)('%s: not whom it does not trust, nor who shows no certificate', async (version) => {
    const stranger = await installation().ca.issue('stranger');
    const agent = await agentOf(version);
    const dispatcher = legacyDispatcher({ version, identity: stranger });
    const status = version === '0.8' ? '403 Error' : '403 Forbidden';
    expect((await dispatcher.ask(here, agent.port, { method: 'GET', path: '/capabilities' })).line).toBe(
      status,
    );
    expect(answered(await unknown(agent.port, posted('/run', '{}')))).toEqual({ ...mismatch, status });
    expect(agent.stopped()).toBeUndefined();
  });

  it.each(versions)('%s: a revoked serial hears so before its request is read', async (version) => {
    const { agent, dispatcher } = await peers(version);
    agent.revoke(dispatcher.identity().serial);
    const { body } = await dispatcher.ask(here, agent.port, { method: 'GET', path: '/none' });
    expect(JSON.parse(body.toString())).toEqual({ error: 'certificate revoked' });
    expect(agent.exchanges[0]?.request).toBeUndefined();
  });

  it.each(versions)('%s: who trusts nobody shows its scripts until 0.11', async (version) => {
    const agent = await agentOf(version, { trusted: [] });
    const { status } = answered(await unknown(agent.port, 'GET /capabilities HTTP/1.1\r\n\r\n'));
    expect(status).toBe(version === '0.12' ? '403 Forbidden' : '200 OK');
    expect(answered(await unknown(agent.port, posted('/ping', '{}'))).body).toEqual(mismatch.body);
  });

  it('0.12 hands its CSR to anybody', async () => {
    const agent = await agentOf('0.12');
    const { body } = answered(await unknown(agent.port, posted('/renew', '{"reqid":"1"}')));
    expect(body).toMatchObject({
      status: 'ok',
      reqid: '1',
      csr: expect.stringMatching(/^-----BEGIN CERTIFICATE REQUEST/),
    });
  });
});

describe('the process of a simulated agent ends', () => {
  const foreign = async () => (await legacyCa({ bits: 2048, installation: 'foreign' })).issue('ctrl-exec');

  it.each(versions)('%s: with a client certificate of another CA', async (version) => {
    const agent = await agentOf(version);
    const dispatcher = legacyDispatcher({
      version,
      identity: { ...(await foreign()), ca: installation().ca.pem },
    });
    expect(await dispatcher.ping(here, agent.port)).toMatchObject({ status: 'error' });
    expect(agent.stopped()).toMatch(/^a handshake failed/);
    const { dispatcher: trusted } = await peers(version);
    expect(await trusted.ping(here, agent.port)).toMatchObject({
      error: expect.stringContaining('ECONNREFUSED'),
    });
    await agent.restart();
    expect(await trusted.ping(here, agent.port)).toMatchObject({ status: 'ok' });
  });

  it('with a connection that is closed before TLS', async () => {
    const agent = await agentOf('0.12');
    const socket = await openTcp(agent.port);
    const closed = received(socket);
    socket.end();
    await closed;
    expect(agent.stopped()).toMatch(/^a handshake failed/);
  });

  it('but not for good where something starts it again', async () => {
    const { agent, dispatcher } = await peers('0.11', { respawns: true });
    const socket = await openTcp(agent.port);
    const closed = received(socket);
    socket.write('GET / HTTP/1.0\r\n\r\n');
    await closed;
    expect(await dispatcher.rotateSerial(here, agent.port, 'abcdef01')).toMatchObject({ exit: 0 });
    expect(await dispatcher.ping(here, agent.port)).toMatchObject({ status: 'ok' });
    expect(agent.trusts('abcdef01')).toBe(true);
  });
});

it('a connection that says nothing keeps all others of a simulated agent waiting', async () => {
  const { agent, dispatcher } = await peers('0.11', { respawns: true });
  const { agent: other } = await peers('0.11');
  const silent = await openTcp(agent.port);
  const ping = dispatcher.ping(here, agent.port);
  // Begun later, and over: time enough for the first.
  for (let count = 0; count < 3; count += 1) await dispatcher.ping(here, other.port);
  expect(agent.exchanges).toEqual([]);
  silent.destroy();
  expect(await ping).toMatchObject({ status: 'ok' });
});

describe('the rate limit of a simulated agent', () => {
  it('answers ten connections in a minute, then none for five minutes', async () => {
    let now = 0;
    const { agent, dispatcher } = await peers('0.11', { rateLimit: true, now: () => now });
    const ping = () => dispatcher.ping(here, agent.port);
    const blocked = { status: 'error', error: '500 Server closed connection without sending any data back' };
    for (let count = 0; count < 10; count += 1) expect(await ping()).toMatchObject({ status: 'ok' });
    expect(await ping()).toEqual(blocked);
    now = 299_999;
    expect(await ping()).toEqual(blocked);
    now = 300_000;
    expect(await ping()).toMatchObject({ status: 'ok' });
    expect(agent.blocked()).toBe(2);
    expect(agent.stopped()).toBeUndefined();
  });

  it('does not count what is older than a minute', async () => {
    let now = 0;
    const { agent, dispatcher } = await peers('0.11', { rateLimit: true, now: () => now });
    for (let count = 0; count < 25; count += 1) {
      now += 6_000;
      expect(await dispatcher.ping(here, agent.port)).toMatchObject({ status: 'ok' });
    }
    expect(agent.blocked()).toBe(0);
  });
});

describe('serials as simulated agents compare them', () => {
  const trusts = async (version: '0.8' | '0.9', line: string, serial: string) => {
    const { agent: identity } = installation();
    const agent = await startLegacyAgent({ version, identity, trusted: [line] });
    return agent.trusts(serial);
  };

  it.each([
    ['0.8', '02', '02', true],
    ['0.8', '2', '02', false],
    ['0.8', '0A', '0a', true],
    ['0.9', '02 control', '02', true],
    ['0.9', '2 control', '02', true],
    ['0.9', '0a control', '0a', true],
    // Digits alone are taken for decimal: on the wire and in the file alike.
    ['0.9', '10 control', '10', true],
    ['0.9', 'a control', '10', true],
    ['0.9', '0c control', '12', true],
    ['0.9', 'a', '0a', false],
  ] as const)('%s: %j against %s is %s', async (version, line, serial, expected) => {
    expect(await trusts(version, line, serial)).toBe(expected);
  });

  it('a counter serial of 0.9 is lost where it stays all digits: hex 16 is written 10 and read a', async () => {
    const { agent, dispatcher } = await peers('0.11', { respawns: true });
    expect(await dispatcher.rotateSerial(here, agent.port, '16')).toMatchObject({ exit: 0 });
    expect(agent.trusted()).toContain('10 control');
    expect(agent.trusts('16')).toBe(false);
  });

  it.each(['0.8', '0.9'] as const)('the script of %s takes no serial below eight digits', async (version) => {
    const { agent, dispatcher } = await peers(version);
    expect(await dispatcher.rotateSerial(here, agent.port, '03')).toMatchObject({ exit: 1 });
    expect(agent.stopped()).toBeUndefined();
  });

  it('a 0.9 agent takes the id from the argument, and one argument alone is none of its uses', async () => {
    const { agent, dispatcher } = await peers('0.9', { respawns: true });
    const script = legacySerialScript[0];
    expect(await dispatcher.run(here, agent.port, { script, args: ['abcdef01'] })).toMatchObject({ exit: 1 });
    await dispatcher.run(here, agent.port, { script, args: ['abcdef01', 'other'] });
    expect(agent.trusted()).toContain('abcdef01 other');
    await dispatcher.run(here, agent.port, { script, args: ['--remove', 'abcdef01'] });
    expect(agent.trusted()).toHaveLength(1);
  });

  it('/rotate-serial removes no serial of another dispatcher, but takes it over', async () => {
    const trusted = [`${installation().dispatcher.serial} control`, 'abcdef01 other'];
    const { agent, dispatcher } = await peers('0.12', { trusted, respawns: true });
    expect(await dispatcher.rotateSerial(here, agent.port, 'abcdef01', 'remove')).toMatchObject({
      exit: -1,
      error: "serial not owned by 'control'",
    });
    await dispatcher.rotateSerial(here, agent.port, 'abcdef01', 'add');
    expect(agent.trusted()).toContain('abcdef01 control');
  });
});

describe('text on its way through a simulated agent', () => {
  const run = async (executor: boolean, via: 'cli' | 'api', argument: string) => {
    const { agent, dispatcher } = await peers('0.12', { executor });
    return dispatcher.run(here, agent.port, { script: 'echo', args: [argument], via });
  };

  it.each([
    ['without the executor, from the API', false, 'api', 'é\n'],
    ['without the executor, from the command line', false, 'cli', 'Ã©\n'],
    ['through the executor, from the command line', true, 'cli', 'Ã©\n'],
  ] as const)('%s', async (_, executor, via, stdout) => {
    expect(await run(executor, via, 'é')).toMatchObject({ exit: 0, stdout });
  });

  it('through the executor: é is one byte, and what has no Latin-1 ends it', async () => {
    let given: readonly Buffer[] = [];
    const scripts = new Map([
      [
        'keep',
        ({ argBytes }: { argBytes: readonly Buffer[] }) => {
          given = argBytes;
          return { exit: 0 };
        },
      ],
    ]);
    const { agent, dispatcher } = await peers('0.12', { executor: true, scripts });
    await dispatcher.run(here, agent.port, { script: 'keep', args: ['é'], via: 'api' });
    expect(given).toEqual([Buffer.of(0xe9)]);
    expect(await run(true, 'api', '€')).toMatchObject({ exit: -1, error: expect.stringContaining('closed') });
  });

  it('output that is no UTF-8 ends the process that serves the request', async () => {
    const scripts = new Map([['raw', { exit: 0, stdout: Buffer.of(0x61, 0xe9) }]]);
    const { agent, dispatcher } = await peers('0.11', { scripts });
    const outcome = await dispatcher.run(here, agent.port, { script: 'raw' });
    expect(outcome).toMatchObject({ exit: -1, error: expect.stringContaining('closed') });
  });
});

it('a simulated dispatcher would hang for ever with a result that fills a pipe', async () => {
  const scripts = new Map([['long', { exit: 0, stdout: 'x'.repeat(65_536) }]]);
  const { agent, dispatcher } = await peers('0.11', { scripts });
  await expect(dispatcher.run(here, agent.port, { script: 'long' })).rejects.toThrow(/hangs for ever/);
});
