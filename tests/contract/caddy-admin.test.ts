import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import { memoryCaddyAdmin } from '../../src/adapters/memory/deploy/caddy-admin.js';
import { undiciCaddyAdmin } from '../../src/adapters/undici/caddy-admin.js';
import { freePort } from '../support/deployment/server.js';
import { caddyAdminContract } from './caddy-admin.contract.js';
import { failure } from './result.js';

const isBroken = (document: unknown) => JSON.stringify(document).includes('broken');

caddyAdminContract('memory', async () => ({
  admin: memoryCaddyAdmin(null, (document) => !isBroken(document)),
  api: 'http://localhost:2019',
  dispose: async () => undefined,
}));

async function serving(listener: RequestListener) {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const dispose = async () => {
    server.close();
    server.closeAllConnections();
  };
  return { api: `http://127.0.0.1:${port}`, dispose };
}

// No Caddy: a stand-in that behaves as its documentation says. The long tests ask the real one.
caddyAdminContract('undici, against a stand-in', async () => {
  let document = 'null';
  const revision = () => `"${createHash('sha256').update(document).digest('hex').slice(0, 16)}"`;
  const { api, dispose } = await serving(async (request, response) => {
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
  return { admin: undiciCaddyAdmin(), api, dispose };
});

it('what is no JSON, too large, a redirect or nobody is an error', async () => {
  const answers: RequestListener[] = [
    (_, response) => response.end('<html>'),
    (_, response) => response.end(Buffer.alloc(17 * 1024 * 1024, 0x20)),
    (_, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
  ];
  const codes: string[] = [];
  for (const answer of answers) {
    const { api, dispose } = await serving(answer);
    codes.push(failure(await undiciCaddyAdmin().read(api)).code);
    await dispose();
  }
  const nobody = await undiciCaddyAdmin().read(`http://127.0.0.1:${await freePort()}`);
  expect([...codes, failure(nobody).code]).toEqual([
    'protocol_violation',
    'too_large',
    'refused',
    'connection_failed',
  ]);
});
