import { writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { nodeFileSystem } from '../../../../src/adapters/files/file-system.js';
import {
  type ControlPlaneOptions,
  undiciControlPlane,
} from '../../../../src/adapters/undici/control-plane.js';
import { trustedCertificates } from '../../../../src/adapters/undici/trusted-certificates.js';
import { controlPlaneUrl } from '../../../../src/domain/deploy/server-url.js';
import { failure, value } from '../../../contract/result.js';
import { atEnd, freePort, temporaryDirectory } from '../../../support/commands/commands.js';
import {
  type FakeControlPlane,
  fakeControlPlane,
  type Misbehaviour,
} from '../../../support/deployment/control-plane.js';
import { connectProxy } from '../../../support/network/connect-proxy.js';
import { testCa } from '../../../support/network/test-pki.js';

async function open(server: FakeControlPlane, options: Partial<ControlPlaneOptions> = {}) {
  const plane = undiciControlPlane({
    server: value(controlPlaneUrl(server.url)),
    apiKey: server.apiKey,
    insecureSkipVerify: false,
    trusted: value(await trustedCertificates(nodeFileSystem().read, server.caBundle)),
    userAgent: 'test',
    ...options,
  });
  atEnd(() => plane.close());
  return plane;
}

const work = { method: 'GET', path: '/api/v1/agents/agent-1/work' } as const;
const failed = async (server: FakeControlPlane, options?: Partial<ControlPlaneOptions>) =>
  failure(await (await open(server, options)).send(work));

describe('calls to a control plane', () => {
  it('go over connections that are kept', async () => {
    const server = await fakeControlPlane();
    const ports = new Set<unknown>();
    server.misbehave = (_call, response) => {
      ports.add(response.socket?.remotePort);
      return false;
    };
    const plane = await open(server);
    for (let call = 0; call < 20; call += 1) expect((await plane.send(work)).isOk()).toBe(true);
    expect(ports.size).toBeLessThanOrEqual(2);
  });

  it('go over at most ten connections, and none is lost', async () => {
    const server = await fakeControlPlane();
    const ports = new Set<unknown>();
    server.misbehave = (_call, response) => {
      ports.add(response.socket?.remotePort);
      return false;
    };
    const plane = await open(server);
    const answers = await Promise.all(Array.from({ length: 100 }, () => plane.send(work)));
    expect(answers.every((answer) => answer.isOk())).toBe(true);
    expect(ports.size).toBeLessThanOrEqual(10);
  });

  it('have the base path of the URL in front', async () => {
    const server = await fakeControlPlane();
    server.misbehave = (_call, response) => response.end('{}') !== undefined;
    const plane = await open(server, { server: value(controlPlaneUrl(`${server.url}/base/`)) });
    await plane.send(work);
    expect(server.calls.map(({ path }) => path)).toEqual(['/base/api/v1/agents/agent-1/work']);
  });

  const misbehaviours: ReadonlyArray<readonly [string, string, Misbehaviour]> = [
    ['no answer', 'timed_out', () => true],
    [
      'half an answer, then nothing',
      'timed_out',
      (_call, response) => response.write('{"jobs":') !== undefined,
    ],
    [
      'a connection that breaks in the middle',
      'connection_failed',
      (_call, response) => {
        response.writeHead(200, { 'content-length': 100 });
        response.write('half', () => response.socket?.destroy());
        return true;
      },
    ],
    ['a connection that breaks', 'connection_failed', (_call, response) => !!response.socket?.destroy()],
    [
      'a length of a GiB',
      'too_large',
      (_call, response) => !!response.writeHead(200, { 'content-length': 2 ** 30 }).write('x'),
    ],
    [
      'more than 16 MiB in chunks',
      'too_large',
      (_call, response) => {
        const chunk = Buffer.alloc(1024 * 1024);
        const more = () => {
          while (!response.destroyed && response.write(chunk));
          if (!response.destroyed) response.once('drain', more);
        };
        more();
        return true;
      },
    ],
    [
      'something that is not HTTP',
      'protocol_violation',
      (_call, response) => !!response.socket?.end('SSH-2.0-OpenSSH_9.2\r\n'),
    ],
    [
      'headers without end',
      'protocol_violation',
      (_call, response) => !!response.socket?.end(`HTTP/1.1 200 OK\r\nX: ${'x'.repeat(100_000)}\r\n\r\n`),
    ],
  ];
  it.each(misbehaviours)('%s is %s', async (_what, code, misbehave) => {
    const server = await fakeControlPlane();
    server.misbehave = misbehave;
    const error = await failed(server, { timeout: 1000 });
    expect(error.code).toBe(code);
    expect(error.message).not.toContain(server.apiKey);
    expect(error.message).not.toMatch(/\n/);
    // And the next call finds a control plane that is in order again.
    server.misbehave = undefined;
    expect((await (await open(server)).send(work)).isOk()).toBe(true);
  });

  it('nobody there, and a name that is none', async () => {
    const server = await fakeControlPlane();
    const at = async (url: string) => failed(server, { server: value(controlPlaneUrl(url)) });
    expect((await at(`https://localhost:${await freePort()}`)).code).toBe('connection_refused');
    expect((await at('https://nobody.invalid')).code).toBe('host_unresolved');
  });
});

describe('the certificate of a control plane', () => {
  it('of another CA is refused before anything is sent', async () => {
    const server = await fakeControlPlane();
    const error = await failed(server, { trusted: [(await testCa()).pem] });
    expect(error).toMatchObject({ code: 'tls_failed', message: expect.stringContaining('--ca-bundle') });
    expect(server.calls).toEqual([]);
  });

  it('for another name is refused', async () => {
    const server = await fakeControlPlane();
    const url = value(controlPlaneUrl(`https://127.0.0.1:${server.port}`));
    expect(await failed(server, { server: url })).toMatchObject({ reason: 'ERR_TLS_CERT_ALTNAME_INVALID' });
    expect(server.calls).toEqual([]);
  });

  it('is not looked at where that was asked for', async () => {
    const server = await fakeControlPlane();
    const plane = await open(server, { trusted: [(await testCa()).pem], insecureSkipVerify: true });
    expect((await plane.send(work)).isOk()).toBe(true);
  });

  it('over TLS 1.2 is refused, also without verification', async () => {
    const server = await fakeControlPlane({ minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' });
    for (const insecureSkipVerify of [false, true])
      expect(await failed(server, { insecureSkipVerify })).toMatchObject({ code: 'tls_failed' });
    expect(server.calls).toEqual([]);
  });

  it('does not come from what speaks no TLS', async () => {
    const server = await fakeControlPlane();
    const plain = createServer((socket) =>
      socket.on('error', () => undefined).end('HTTP/1.1 400 Bad Request\r\n\r\n'),
    );
    await new Promise<void>((resolve) => {
      plain.listen(0, '127.0.0.1', resolve);
    });
    atEnd(() => plain.close());
    const address = plain.address();
    const port = typeof address === 'object' ? address?.port : 0;
    const url = value(controlPlaneUrl(`https://localhost:${port}`));
    expect((await failed(server, { server: url })).code).toBe('tls_failed');
  });
});

const trustedBy = (bundle?: string, sslCertFile?: string) =>
  trustedCertificates(nodeFileSystem().read, bundle, sslCertFile);

describe('the CAs that are trusted', () => {
  it('are those of the bundle, whatever else stands in it', async () => {
    const [one, two] = [await testCa(), await testCa()];
    const file = join(temporaryDirectory(), 'bundle.pem');
    const broken = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
    writeFileSync(file, `${one.pem}# two\n${broken}${two.pem}`);
    const trusted = value(await trustedBy(file));
    expect(trusted).toEqual([one.pem, two.pem]);
    expect(value(await trustedBy(undefined, file))).toEqual(trusted);
  });

  it('a bundle that cannot be read or holds no certificate is refused', async () => {
    const file = join(temporaryDirectory(), 'bundle.pem');
    const refusal = async () => failure(await trustedBy(file));
    expect(await refusal()).toMatchObject({ code: 'config_invalid', reason: 'cannot be read (ENOENT)' });
    writeFileSync(file, '');
    expect((await refusal()).reason).toContain('no PEM certificate');
    writeFileSync(file, '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
    expect((await refusal()).message).toContain(file);
  });

  it("are the system's where there is no bundle", async () => {
    expect(value(await trustedBy(undefined)).length).toBeGreaterThan(10);
  });
});

it('a CA bundle that is no regular file is refused, and no device is read', async () => {
  for (const [path, code] of [
    ['/dev/zero', 'EINVAL'],
    ['/etc', 'EISDIR'],
    ['/proc/self/pagemap', 'EFBIG'],
  ] as const)
    expect(failure(await trustedBy(path)).message).toContain(code);
});

describe('calls through a proxy', () => {
  const opened = async () => {
    const proxy = await connectProxy();
    atEnd(() => proxy.close());
    return proxy;
  };

  it('go through a tunnel, in which the proxy sees no API key, over TLS 1.3 and with the CA judged', async () => {
    const [server, proxy] = [await fakeControlPlane(), await opened()];
    const plane = await open(server, { proxy });
    for (let call = 0; call < 5; call += 1) value(await plane.send(work));
    expect([...new Set(proxy.tunnels)]).toEqual([`localhost:${server.port}`]);
    expect(proxy.tunnels.length).toBeLessThanOrEqual(2);
    expect(proxy.wire().length).toBeGreaterThan(1000);
    expect(proxy.wire().includes(server.apiKey)).toBe(false);
    const other = [(await testCa()).pem];
    expect(await failed(server, { proxy, trusted: other })).toMatchObject({ code: 'tls_failed' });
    const old = await fakeControlPlane({ maxVersion: 'TLSv1.2', minVersion: 'TLSv1.2' });
    expect(await failed(old, { proxy })).toMatchObject({ code: 'tls_failed' });
    const misnamed = await fakeControlPlane();
    const url = value(controlPlaneUrl(misnamed.url.replace('localhost', 'plane.test')));
    expect(await failed(misnamed, { proxy, server: url })).toMatchObject({
      code: 'tls_failed',
      reason: 'ERR_TLS_CERT_ALTNAME_INVALID',
    });
  });

  it('that fail name the proxy, and not its password', async () => {
    const [server, proxy] = [await fakeControlPlane(), await opened()];
    const wrong = { ...proxy, url: proxy.url.replace(proxy.password, 'proxy-password-2') };
    const nobody = `127.0.0.1:${await freePort()}`;
    const gone = { place: nobody, url: proxy.url.replace(proxy.place, nobody) };
    for (const [options, reason] of [
      [{ proxy: wrong }, 'the proxy answered 407'],
      [{ proxy: gone }, 'nothing listens'],
    ] as const) {
      const error = await failed(server, options);
      expect(error.message).toContain(reason);
      expect(error.message).toContain(`through the proxy ${options.proxy.place}`);
      expect(JSON.stringify(error)).not.toContain('proxy-password');
    }
    expect(server.calls).toEqual([]);
  });

  it('end with their time, also where the proxy is silent', async () => {
    const server = await fakeControlPlane();
    const silent = createServer((socket) => socket.on('error', () => undefined).resume());
    await new Promise<void>((resolve) => {
      silent.listen(0, '127.0.0.1', resolve);
    });
    const { port } = silent.address() as AddressInfo;
    const proxy = { url: `http://127.0.0.1:${port}`, place: `127.0.0.1:${port}` };
    const plane = await open(server, { proxy, timeout: 100 });
    expect(failure(await plane.send(work)).code).toBe('timed_out');
    await plane.close();
    await new Promise((resolve) => {
      silent.close(resolve);
    });
  });
});
