import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { serveApi, setSettings } from '../../support/api/process.js';
import { dispatcherOnDisk, shared } from '../../support/commands/commands.js';
import { missingForLwp, realLwp } from '../../support/legacy/perl.js';

const greet = '#!/bin/sh\nprintf "%s," "$@"\n';

const served = shared(async () => {
  const control = await dispatcherOnDisk();
  setSettings(control, 'api_auth_default = allow');
  const agent = await control.pairAgent('web-01');
  agent.script('greet', greet);
  await agent.serve();
  return serveApi(control.home);
});

/** Status line and body of one HTTP/1.0 request, as bytes on a socket. */
const raw = (port: number, request: string): Promise<readonly [line: string, body: string]> =>
  new Promise((resolve, reject) => {
    let bytes = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(request));
    socket.setEncoding('latin1').on('data', (text) => {
      bytes += text;
    });
    socket.on('error', reject);
    socket.on('close', () => {
      const [head = '', body = ''] = bytes.split('\r\n\r\n');
      resolve([head.split('\r\n')[0] ?? '', body]);
    });
  });

const asked = (method: string, path: string, body = '') =>
  raw(
    served().port,
    `${method} ${path} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );

describe('a client of the deployed API is answered byte for byte', () => {
  it.each([
    ['DELETE', '/run', '', 404, '{"ok":false,"error":"not found"}'],
    ['PUT', '/health', '', 404, '{"ok":false,"error":"not found"}'],
    ['GET', '/run', '', 404, '{"ok":false,"error":"not found"}'],
    ['POST', '/run', '{', 400, '{"ok":false,"error":"bad request","detail":"the body: not valid JSON"}'],
    [
      'POST',
      '/run',
      '{"script":"greet"}',
      400,
      '{"ok":false,"error":"bad request","detail":"hosts: is missing","field":"hosts"}',
    ],
    [
      'POST',
      '/run',
      '{"hosts":["web-01"],"script":"greet","args":[12345678901234567890]}',
      400,
      '{"ok":false,"error":"bad request","detail":"args[0]: expected a number from -9007199254740991 to 9007199254740991; a larger one must be a string","field":"args[0]"}',
    ],
    [
      'GET',
      '/status/00000000000000aa',
      '',
      404,
      '{"ok":false,"error":"not found","detail":"no result for reqid 00000000000000aa"}',
    ],
  ])('%s %s %s: %i', async (method, path, body, status, text) => {
    const [line, answer] = await asked(method, path, body);
    expect([line.split(' ')[1], answer]).toEqual([String(status), text]);
  });

  it('a number is passed as text, and a name that no allowlist holds is a result', async () => {
    const told = async (script: string, args: string) => {
      const [, body] = await asked(
        'POST',
        '/run',
        `{"hosts":["web-01"],"script":"${script}","args":${args}}`,
      );
      return JSON.parse(body).results[0];
    };
    expect(await told('greet', '[1, 1.50, 1e3, true, "x"]')).toMatchObject({
      exit: 0,
      stdout: '1,1.5,1000,true,x,',
    });
    expect(await told('script.sh', '[]')).toMatchObject({
      ...{ host: 'web-01', script: 'script.sh', exit: -1, error: 'script not permitted' },
    });
  });

  it.skipIf(missingForLwp !== undefined)(
    `real LWP${missingForLwp === undefined ? '' : ` (skipped: ${missingForLwp})`}`,
    async () => {
      const url = `http://127.0.0.1:${served().port}`;
      const nobody = { key: '', certificate: '' };
      const body = Buffer.from('{"hosts":["web-01"],"script":"greet","args":[7,false]}');
      const ran = await realLwp(nobody, '', `${url}/run`, body);
      expect([ran.line, JSON.parse(ran.body.toString()).results[0].stdout]).toEqual(['200 OK', '7,false,']);
      const wrong = await realLwp(nobody, '', `${url}/run`);
      expect([wrong.line, wrong.body.toString()]).toEqual([
        '404 Not Found',
        '{"ok":false,"error":"not found"}',
      ]);
    },
  );
});
