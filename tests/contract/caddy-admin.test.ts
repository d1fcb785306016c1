import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmod, chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { nodeFileSystem } from '../../src/adapters/files/file-system.js';
import { undiciCaddyAdmin } from '../../src/adapters/undici/caddy-admin.js';
import { freePort } from '../support/deployment/server.js';
import { memoryCaddyAdmin } from '../support/memory/caddy-admin.js';
import { caddyAdminContract } from './caddy-admin.contract.js';
import { failure, value } from './result.js';

const isBroken = (document: unknown) => JSON.stringify(document).includes('broken');

caddyAdminContract('memory', async () => ({
  admin: memoryCaddyAdmin(null, (document) => !isBroken(document)),
  place: { api: 'http://localhost:2019', owners: [] },
  dispose: async () => undefined,
}));

/** Whose servers those of the tests are. */
const me = String(process.getuid?.() ?? 0);

async function serving(listener: RequestListener, path?: string) {
  const server = createServer(listener);
  if (path === undefined) server.listen(0, '127.0.0.1');
  else server.listen(path);
  await once(server, 'listening');
  const api =
    path === undefined ? `http://127.0.0.1:${(server.address() as AddressInfo).port}` : `unix/${path}`;
  const dispose = async () => {
    server.close();
    server.closeAllConnections();
  };
  return { place: { api, owners: [me] }, dispose };
}

// No Caddy: a stand-in that behaves as its documentation says. The long tests ask the real one.
caddyAdminContract('undici, against a stand-in', async () => {
  let document = 'null';
  const revision = () => `"${createHash('sha256').update(document).digest('hex').slice(0, 16)}"`;
  const { place, dispose } = await serving(async (request, response) => {
    if (request.method === 'GET') {
      response.setHeader('Trailer', 'ETag');
      response.write(document);
      response.addTrailers({ ETag: revision() });
      response.end();
      return;
    }
    const body = await text(request);
    const expected = request.headers['if-match'];
    if (expected !== undefined && expected !== revision()) response.statusCode = 412;
    else if (isBroken(JSON.parse(body))) response.statusCode = 400;
    else document = body;
    response.end();
  });
  return { admin: undiciCaddyAdmin(nodeFileSystem()), place, dispose };
});

describe('whose the administration API is', () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ctrl-exec-caddy-'));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));
  const answers: RequestListener = (_, response) => response.end('null');
  const owner = { code: 'connection_failed', reason: 'owner' };

  it('a socket of root or of an owner is called', async () => {
    const { place, dispose } = await serving(answers, join(directory, 'a.sock'));
    expect(value(await undiciCaddyAdmin(nodeFileSystem()).read(place)).document).toBeNull();
    await dispose();
  });

  it.skipIf(me !== '0')('a socket or a port of somebody else is not (needs root)', async () => {
    let asked = 0;
    const counting: RequestListener = (_, response) => {
      asked += 1;
      response.end('null');
    };
    const path = join(directory, 'a.sock');
    const { place, dispose } = await serving(counting, path);
    await chown(path, 65_534, 65_534);
    const error = failure(
      await undiciCaddyAdmin(nodeFileSystem()).replace(place, { document: {}, revision: undefined }),
    );
    expect(error).toMatchObject(owner);
    expect(error.message).toContain('belongs to user 65534');
    expect(
      value(await undiciCaddyAdmin(nodeFileSystem()).read({ ...place, owners: ['65534'] })).document,
    ).toBeNull();
    expect(asked).toBe(1);
    await dispose();

    const program = `require('node:http').createServer((_, r) => { process.stdout.write('asked'); r.end('null') })
      .listen(0, '127.0.0.1', function () { process.stdout.write(String(this.address().port)) })`;
    const stranger = spawn(process.execPath, ['-e', program], { uid: 65_534, gid: 65_534 });
    try {
      const [port] = (await once(stranger.stdout, 'data')) as [Buffer];
      const api = `http://localhost:${port}`;
      expect(
        failure(await undiciCaddyAdmin(nodeFileSystem()).read({ api, owners: ['daemon'] })),
      ).toMatchObject(owner);
      expect(
        value(await undiciCaddyAdmin(nodeFileSystem()).read({ api, owners: ['65534'] })).document,
      ).toBeNull();
    } finally {
      const ended = once(stranger, 'exit');
      stranger.kill('SIGKILL');
      await ended;
    }
  });

  it('a socket in a directory in which others can put another one is not', async () => {
    const path = join(directory, 'a.sock');
    const { place, dispose } = await serving(answers, path);
    await chmod(directory, 0o777);
    const error = failure(await undiciCaddyAdmin(nodeFileSystem()).read(place));
    expect(error).toMatchObject(owner);
    expect(error.message).toContain(`chmod go-w ${directory}`);
    await dispose();
  });

  it('a file that is no socket is not', async () => {
    const api = `unix/${join(directory, 'file')}`;
    await writeFile(join(directory, 'file'), '');
    expect(failure(await undiciCaddyAdmin(nodeFileSystem()).read({ api, owners: [me] }))).toMatchObject(
      owner,
    );
  });
});

it('what is no JSON, too large, a redirect or nobody is an error', async () => {
  const answers: RequestListener[] = [
    (_, response) => response.end('<html>'),
    (_, response) => response.end(Buffer.alloc(17 * 1024 * 1024, 0x20)),
    (_, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
  ];
  const codes: string[] = [];
  for (const answer of answers) {
    const { place, dispose } = await serving(answer);
    codes.push(failure(await undiciCaddyAdmin(nodeFileSystem()).read(place)).code);
    await dispose();
  }
  const nobody = await undiciCaddyAdmin(nodeFileSystem()).read({
    api: `http://127.0.0.1:${await freePort()}`,
    owners: [me],
  });
  expect([...codes, failure(nobody).code]).toEqual([
    'protocol_violation',
    'too_large',
    'refused',
    'connection_failed',
  ]);
});
