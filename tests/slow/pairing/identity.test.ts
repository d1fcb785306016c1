import { cpSync, existsSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { Credentials } from '../../../src/ports/channel.js';
import {
  type AgentOnDisk,
  freePort,
  openPairing,
  requestPairing,
  run,
  shared,
  start,
  temporaryDirectory,
} from '../../support/commands/commands.js';
import {
  agentCredentials,
  at,
  dispatcherCredentials,
  pairedFleet,
  rawExchange,
  rawRequest,
  runOne,
  serialOf,
  twin,
} from '../../support/fleet/fleet.js';
import { listening } from '../../support/network/raw-tls.js';
import { testCa } from '../../support/network/test-pki.js';

const body = JSON.stringify({ script: 'touch', args: ['x'], reqid: 'a3f9b2c100010002' });

const fleet = shared(async () => {
  const ran = join(temporaryDirectory(), 'ran');
  const planned = (name: string) => ({ name, scripts: { touch: `#!/bin/sh\ntouch ${ran}.${name}.$1\n` } });
  return { ...(await pairedFleet({ web: planned('web-01'), db: planned('db-01') })), ran };
});

/** Serves on a port that the configuration does not name. */
async function serveOn(agent: AgentOnDisk, port: number) {
  const daemon = start('ctrl-exec-agent', ['serve', '--port', String(port)], { home: agent.home });
  await daemon.shows(/Serving on/);
  return daemon;
}

/** A TLS server with these credentials that keeps whatever it is sent and hangs up at the first byte. */
async function listener({ key, certificate }: Credentials, port = 0) {
  const heard: Buffer[] = [];
  let connections = 0;
  const server = createTlsServer({ key, cert: certificate, requestCert: true, rejectUnauthorized: false });
  server.on('connection', () => {
    connections += 1;
  });
  server.on('secureConnection', (socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      heard.push(chunk);
      socket.destroy();
    });
  });
  const close = () => new Promise((resolve) => server.close(resolve));
  onTestFinished(() => void close());
  await listening(server, port);
  return { heard: () => Buffer.concat(heard).toString(), connections: () => connections, close };
}

describe('an agent that answers in place of another', () => {
  it('is refused, and runs nothing', async () => {
    const { control, web, db, ran } = fleet();
    await serveOn(db, web.port);
    const result = await runOne(control, 'web-01', 'touch', 'swapped');
    expect(result).toMatchObject({ exit: -1, stdout: '', stderr: '' });
    expect(result.error).toBe(
      'wrong identity: the host that answers for web-01 has the key of ctrl-exec:agent:db-01, not the one that was paired; nothing was sent',
    );
    expect(existsSync(`${ran}.db-01.swapped`)).toBe(false);
    for (const command of ['ping', 'discovery']) {
      const { code, stdout } = await control.command(command, 'web-01');
      expect(stdout).toContain('wrong identity');
      expect(code).toBe(1);
    }
  });

  it('is sent no byte of any request', async () => {
    const { control, web, db } = fleet();
    const impostor = await listener(agentCredentials(db), web.port);
    for (const words of [
      ['run', 'web-01', 'touch', '--', 'secret'],
      ['ping', 'web-01'],
      ['discovery', 'web-01'],
    ])
      expect((await control.command(...words)).stdout).toContain('wrong identity');
    expect(impostor.connections()).toBe(3);
    expect(impostor.heard()).toBe('');
    await impostor.close();

    // With the right key the same listener hears everything.
    const genuine = await listener(agentCredentials(web), web.port);
    await control.command('run', 'web-01', 'touch', '--', 'secret');
    expect(genuine.heard()).toMatch(/^POST \/run HTTP\/1\.1\r\n.*secret/s);
    // It never said how that ended.
    await control.command('release-lock', 'web-01', 'touch');
  });

  it('is refused although its certificate bears the name: the key decides', async () => {
    const { control, web } = fleet();
    // The same CA, the same names, another key: what a dispatcher that was broken into could have issued.
    const other = join(temporaryDirectory(), 'again');
    cpSync(control.home, other, { recursive: true });
    const again = { ...control, home: other };
    const renamed = await twin(web);
    const mode = await openPairing(again.home);
    const request = requestPairing(renamed, mode.port, ['--lookup-by', 'ip', '--new-key']);
    const id = await request.shows(/Request ([0-9a-f]{8})/);
    const approved = await run('ctrl-exec', ['approve', id, '--replace'], { home: again.home });
    expect(approved).toMatchObject({ code: 0 });
    request.child.stdin?.end('y\n');
    expect(await request.ended).toMatchObject({ code: 0 });
    await mode.process.stop();

    await serveOn(renamed, web.port);
    const result = await runOne(control, 'web-01', 'touch', 'renamed');
    expect(result).toMatchObject({ exit: -1, error: expect.stringContaining('wrong identity') });
  });

  it('is refused with a certificate of another CA, before anything is sent', async () => {
    const { control, web } = fleet();
    const ca = await testCa();
    const uris = ['ctrl-exec:agent:web-01'];
    const impostor = await listener(
      await ca.issue({ commonName: 'web-01', dnsNames: ['web-01'], uris, usages: ['serverAuth'] }),
      web.port,
    );
    const result = await runOne(control, 'web-01', 'touch', 'x');
    expect(result.exit).toBe(-1);
    expect(result.error).toContain('another CA');
    expect(impostor.heard()).toBe('');
  });

  it('is refused with the certificate of the dispatcher itself, which is no server', async () => {
    const { control, web } = fleet();
    const impostor = await listener(dispatcherCredentials(control), web.port);
    const result = await runOne(control, 'web-01', 'touch', 'x');
    expect(result).toMatchObject({ exit: -1, error: expect.stringContaining('not meant for a server') });
    expect(impostor.heard()).toBe('');
  });

  it('is recognised as something else where it does not speak TLS', async () => {
    const { control, web } = fleet();
    const server = createServer((_request, response) => response.end('hello'));
    onTestFinished(() => void server.close());
    await listening(server, web.port);
    const result = await runOne(control, 'web-01', 'touch', 'x');
    expect(result).toMatchObject({ exit: -1, error: expect.stringContaining('TLS') });
  });
});

describe('a host that is no registered name', () => {
  it('is accepted when its key belongs to a registered agent, whose name is told', async () => {
    const { control, db, ran } = fleet();
    const port = await freePort();
    await serveOn(db, port);
    const result = await runOne(control, `127.0.0.1:${port}`, 'touch', 'by-place');
    expect(result).toMatchObject({ host: `127.0.0.1:${port}`, exit: 0, reported_hostname: 'db-01' });
    expect(existsSync(`${ran}.db-01.by-place`)).toBe(true);
    expect((await control.command('ping', `127.0.0.1:${port}`)).code).toBe(0);
    expect((await control.command('ping', '--port', String(port), '127.0.0.1')).code).toBe(0);
  });

  it('is refused when nobody has its key, although its CA is the right one', async () => {
    const { control } = fleet();
    const agent = await control.pairAgent('stray-01');
    await agent.serve();
    await control.command('unpair', 'stray-01');
    const { stdout, code } = await control.command('ping', at(agent));
    expect(stdout).toContain(
      `wrong identity: ${at(agent)} answers as ctrl-exec:agent:stray-01, whose key no registered agent has; nothing was sent`,
    );
    expect(code).toBe(1);
  });
});

describe('who may call an agent', () => {
  /** What came back to a run that this certificate asked for, and what the agent logged about it. */
  async function ask(who: Credentials | undefined) {
    const agent = await twin(fleet().web);
    agent.script('touch', `#!/bin/sh\ntouch ${fleet().ran}.asked\n`);
    const daemon = await agent.serve();
    const head = `POST /run HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: ${body.length}`;
    // Where the connection is refused, how it ends is not the question.
    const answer = await rawExchange(agent.port, who, `${head}\r\n\r\n${body}`).catch(() => '');
    const reason = await daemon.shows(/ACTION=(?:connection|request)-refused .*?REASON=(.*)/, 'stderr');
    expect(existsSync(`${fleet().ran}.asked`)).toBe(false);
    return { answer, reason };
  }

  it('no agent: its certificate is for servers only', async () => {
    expect(await ask(agentCredentials(fleet().db))).toEqual({ answer: '', reason: 'INVALID_PURPOSE' });
  });

  it('not the agent itself', async () => {
    expect(await ask(agentCredentials(fleet().web))).toEqual({ answer: '', reason: 'INVALID_PURPOSE' });
  });

  it('nobody with a certificate of another CA, whatever it says', async () => {
    const ca = await testCa();
    const uris = ['ctrl-exec:dispatcher:control'];
    const serial = serialOf(dispatcherCredentials(fleet().control));
    const { answer, reason } = await ask(await ca.issue({ uris, serial, usages: ['clientAuth'] }));
    expect(answer).toBe('');
    expect(reason).toMatch(/^(UNABLE_TO_|SELF_SIGNED|CERT_)/);
  });

  it('nobody without a certificate', async () => {
    expect(await ask(undefined)).toEqual({ answer: '', reason: 'NO_CERTIFICATE' });
  });

  it('no dispatcher of the same CA whose serial is not trusted: 403, before the body is looked at', async () => {
    const { control, web, ran } = fleet();
    const home = join(temporaryDirectory(), 'other');
    cpSync(control.home, home, { recursive: true });
    const renewed = await run('ctrl-exec', ['setup-ctrl-exec', '--yes', '--force'], { home });
    expect(renewed).toMatchObject({ code: 0 });
    const other = dispatcherCredentials({ home });
    expect(serialOf(other)).not.toBe(serialOf(dispatcherCredentials(control)));

    const agent = await twin(web);
    agent.script('touch', `#!/bin/sh\ntouch ${ran}.untrusted\n`);
    await agent.serve();
    for (const [path, asked] of [
      ['/run', body],
      ['/run', 'not JSON'],
      ['/ping', '{}'],
      ['/nowhere', '{}'],
    ] as const) {
      const answer = await rawRequest(agent.port, other, path, asked);
      expect(answer.statusLine).toBe('HTTP/1.0 403 Forbidden');
      expect(JSON.parse(answer.body)).toEqual({ error: 'serial mismatch', status: 'forbidden' });
    }
    const capabilities = await rawRequest(agent.port, other, '/capabilities');
    expect(capabilities.statusLine).toBe('HTTP/1.0 403 Forbidden');
    expect(JSON.parse(capabilities.body)).toEqual({ error: 'forbidden' });

    const said = await run('ctrl-exec', ['run', at(agent), 'touch', '--', 'x'], { home });
    expect(said.stdout).toMatch(
      /ERROR: refused by the agent: serial mismatch \(.*pair it with this dispatcher\)\n/,
    );
    expect(said.code).toBe(1);
    const discovered = await run('ctrl-exec', ['discovery', at(agent)], { home });
    expect(discovered.stdout).toContain('pair it with this dispatcher');
    expect(existsSync(`${ran}.untrusted`)).toBe(false);
    expect((await runOne(control, at(agent), 'touch', 'x')).exit).toBe(0);
  });
});
