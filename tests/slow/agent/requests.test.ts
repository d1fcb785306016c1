import { existsSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { RequestOnWire } from '../../../src/sdk/protocol/message-signing.js';
import { temporaryDirectory } from '../../support/commands/commands.js';
import {
  at,
  dispatcherCredentials,
  gate,
  pairedHost,
  rawExchange,
  rawRequest,
} from '../../support/fleet/fleet.js';
import { bytesOf, mustVerify, parseAnswer, shownOn, signedFor } from '../../support/network/raw-http.js';
import { capture, openTls, received } from '../../support/network/raw-tls.js';

const host = pairedHost();
const { fresh, ask, running } = host;

describe('limits', () => {
  it('max_runs: 503 with Retry-After, and the dispatcher says so', async () => {
    const agent = await fresh('max_runs = 1\n');
    const busy = gate();
    agent.script('busy', busy.script);
    agent.script('hello', '#!/bin/sh\necho hello\n');
    await agent.serve();
    const first = ask(agent, 'busy');
    await busy.started();
    const body = '{"script":"hello","args":[]}';
    const second = await rawRequest(agent.port, dispatcherCredentials(host.control()), '/run', body);
    expect(second.statusLine).toBe('HTTP/1.0 503 Service Unavailable');
    expect(second.head).toMatch(/\r\nretry-after: \d+/i);
    expect(await running(agent, 'hello')).toMatchObject({
      exit: -1,
      error: 'refused by the agent: busy: 1 runs are under way',
    });
    busy.open();
    expect((await first).exit).toBe(0);
    expect((await ask(agent, 'hello')).exit).toBe(0);
  });

  it('run_timeout ends a script, and the answer says so', async () => {
    const agent = await fresh('run_timeout = 1\n');
    agent.script('long', '#!/bin/sh\necho begun\nexec sleep 60\n');
    await agent.serve();
    expect(await running(agent, 'long')).toMatchObject({
      exit: 126,
      error: 'killed by SIGTERM: ran longer than 1 s',
      stdout: 'begun\n',
    });
  });

  it('read_timeout: the dispatcher gives up, says after how long, and the script stays locked until its end', async () => {
    const control = host.control();
    const agent = await fresh();
    const busy = gate();
    agent.script('busy', busy.script);
    await agent.serve();
    const conf = join(temporaryDirectory(), 'ctrl-exec.conf');
    writeFileSync(conf, 'dispatcher_id = control\nread_timeout = 1\n');
    const { code, stdout } = await control.command('--config', conf, 'run', at(agent), 'busy');
    expect(stdout).toMatch(/\[RUNNING {2}exit:-1 .*\]\n {4}ERROR: read timeout after 1s\n$/);
    expect(code).toBe(1);
    const [, reqid = ''] = /req:([0-9a-f]{16})/.exec(stdout) ?? [];
    const locks = async () => JSON.parse((await control.command('list-locks', '--json')).stdout).locks;
    expect(await locks()).toMatchObject([{ host: at(agent), script: 'busy', reqid }]);
    busy.open();
    expect((await control.command('wait', reqid)).code).toBe(0);
    expect(await locks()).toEqual([]);
  });
});

describe('raw requests', () => {
  it('HTTP/1.0 is answered in kind, with the exact length, and the connection ends', async () => {
    const agent = await fresh();
    agent.script('echo', '#!/bin/sh\nprintf "%s" "$1"\n');
    await agent.serve();
    const who = dispatcherCredentials(host.control());
    const answer = await rawRequest(agent.port, who, '/run', '{"script":"echo","args":["é"],"reqid":"00b1"}');
    expect(answer.statusLine).toBe('HTTP/1.0 200 OK');
    expect(answer.head).toMatch(
      new RegExp(`\r\ncontent-length: ${Buffer.byteLength(answer.body)}(\r\n|$)`, 'i'),
    );
    expect(answer.head).toMatch(/\r\ncontent-type: application\/json/i);
    expect(answer.head).not.toMatch(/transfer-encoding/i);
    expect(JSON.parse(answer.body)).toEqual({
      script: 'echo',
      exit: 0,
      stdout: 'é',
      stderr: '',
      reqid: '00b1',
    });

    const ping = await rawRequest(agent.port, who, '/ping', '{"reqid":"00b2"}');
    expect(JSON.parse(ping.body)).toEqual({
      status: 'ok',
      host: hostname(),
      version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
      expiry: expect.stringMatching(/^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4} GMT$/),
      staged: false,
      crl_number: 0,
      features: expect.arrayContaining(['settle']),
      reqid: '00b2',
    });
    expect(ping.statusLine).toBe('HTTP/1.0 200 OK');
    const capabilities = await rawRequest(agent.port, who, '/capabilities');
    expect(JSON.parse(capabilities.body)).toMatchObject({ status: 'ok', scripts: [{ name: 'echo' }] });

    const nowhere = await rawRequest(agent.port, who, '/nowhere', '{}');
    expect([nowhere.statusLine, nowhere.body]).toEqual(['HTTP/1.0 404 Not Found', '{"error":"not found"}']);
    const malformed = await rawRequest(agent.port, who, '/run', '{"script":');
    expect(JSON.parse(malformed.body)).toEqual({ exit: -1, error: 'invalid JSON' });
    const large = await rawRequest(agent.port, who, '/run', ' '.repeat(1_048_577));
    expect(large.statusLine).toBe('HTTP/1.0 413 Payload Too Large');
  });

  /** What a deployed dispatcher sends, as it was recorded; those do not sign. */
  const recorded = (name: string): RequestOnWire => {
    const [head = '', body = ''] = capture(name).toString('latin1').split('\r\n\r\n');
    const [line = '', ...fields] = head.split('\r\n');
    const [method = '', path = ''] = line.split(' ');
    const headers = fields.map((field): [string, string] => {
      const [header = '', ...value] = field.split(': ');
      return [header.toLowerCase(), value.join(': ')];
    });
    const others = headers.filter(([header]) => header !== 'content-length');
    return { method, path, query: '', headers: others, body: Buffer.from(body, 'latin1') };
  };

  it('what a deployed dispatcher sends is refused as it is: it is not signed', async () => {
    const agent = await fresh();
    const ran = join(temporaryDirectory(), 'ran');
    agent.script('echo', `#!/bin/sh\ntouch ${ran}\n`);
    const daemon = await agent.serve();
    const who = dispatcherCredentials(host.control());
    for (const name of ['dispatcher-run.http', 'dispatcher-ping.http']) {
      const text = await rawExchange(agent.port, who, capture(name).toString('latin1'));
      expect(text).toMatch(/^HTTP\/1\.1 401 Unauthorized\r\n(.*\r\n)*connection: close\r\n/i);
      expect(text.slice(text.indexOf('\r\n\r\n') + 4)).toBe('{"error":"signature required"}');
    }
    await daemon.shows(/ACTION=request-unverified .*PATH=\/ping .*REFUSED="signature required"/, 'stderr');
    expect(existsSync(ran)).toBe(false);
    const refused = await rawRequest(agent.port, who, '/run', '{"script":"echo"}', { unsigned: true });
    expect([refused.statusLine, refused.body]).toEqual([
      'HTTP/1.0 401 Unauthorized',
      '{"error":"signature required"}',
    ]);
    expect(existsSync(ran)).toBe(false);
  });

  it('what a deployed dispatcher sends is understood once it is signed', async () => {
    const agent = await fresh();
    agent.script('echo', '#!/bin/sh\nprintf \'%s|\' "$@"\n');
    await agent.serve();
    const who = dispatcherCredentials(host.control());
    const sent = async (name: string) => {
      const socket = await openTls(agent.port, who);
      const request = signedFor(socket, who, recorded(name));
      const [shown, coming] = [shownOn(socket), received(socket)];
      socket.write(bytesOf(request));
      const text = await coming;
      mustVerify(parseAnswer(text), request, shown);
      return Buffer.from(text, 'latin1').toString('utf8');
    };
    const run = await sent('dispatcher-run.http');
    const { stdout, exit, reqid } = JSON.parse(run.slice(run.indexOf('\r\n\r\n') + 4));
    expect({ stdout, exit, reqid }).toEqual({ stdout: 'a b|Ã©|', exit: 0, reqid: '00b1a684576c534a' });
    const ping = await sent('dispatcher-ping.http');
    expect(ping).toMatch(/^HTTP\/1\.1 200 OK\r\n(.*\r\n)*connection: close\r\n/i);
    expect(JSON.parse(ping.slice(ping.indexOf('\r\n\r\n') + 4)).reqid).toBe('2f6c3e5359bdd157');
  });

  it('nothing that is sent forges a log line or puts a token or output into one', async () => {
    const agent = await fresh();
    agent.script('hello', '#!/bin/sh\necho printed-by-the-script\n');
    const daemon = await agent.serve();
    await ask(agent, 'x\nACTION=forged IP=1.2.3.4', [], { username: 'a\r\nACTION=forged', token: 's3same' });
    await ask(agent, 'hello', ['given-as-argument'], {
      username: 'a"\u2028ACTION=forged',
      token: 's3same',
      reqid: 'log-2',
    });
    await daemon.stop();
    const log = daemon.output('stderr');
    expect(log).toMatch(/^ACTION=run-start .*REQID=log-2 .*SCRIPT=hello/m);
    for (const line of log.trimEnd().split(/[\n\r\u2028]/)) expect(line).toMatch(/^ACTION=[a-z-]+( |$)/);
    expect(log).not.toMatch(/^ACTION=forged/m);
    for (const secret of ['s3same', 'printed-by-the-script', 'given-as-argument'])
      expect(log).not.toContain(secret);
  });

  it('the request id stands in the log of both hosts', async () => {
    const agent = await fresh();
    agent.script('hello', '#!/bin/sh\n');
    const daemon = await agent.serve();
    const { reqid } = await running(agent, 'hello');
    await daemon.shows(new RegExp(`ACTION=run-start .*REQID=${reqid} `), 'stderr');
    await daemon.shows(new RegExp(`ACTION=run-end .*EXIT=0 .*REQID=${reqid} `), 'stderr');
  });
});
