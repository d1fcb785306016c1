import { execFile } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { apiRoutes } from '../../../src/apps/api/routes.js';
import { openDispatcher } from '../../../src/apps/library/index.js';
import { apiOver, eventsIn } from '../../support/api/api.js';
import { atEnd, dispatcherOnDisk, shared, temporaryDirectory } from '../../support/commands/commands.js';
import { eventually, gate, pairedFleet } from '../../support/fleet/fleet.js';

/** One agent that serves, one that is down, and the API over them, without a hook. */
const fleet = shared(async () => {
  const held = gate();
  const directory = temporaryDirectory();
  const flag = join(directory, 'go');
  const scripts = {
    greet: '#!/bin/sh\necho "hello $*"\n',
    held: held.script,
    utf8: "#!/bin/sh\nprintf 'caf\\303'; printf '\\251 \\342\\202'; printf '\\254\\n'; printf 'err\\377' >&2\n",
    told: `#!/bin/sh\necho before\nwhile [ -d ${directory} ] && [ ! -e ${flag} ]; do sleep 0.02; done\necho after\necho done > ${directory}/ended\n`,
  };
  const web = { name: 'web-01', conf: '[tags]\nenv = prod\n', scripts, serves: true };
  const made = await pairedFleet({ agent: web, down: 'web-02' }, 'api_auth_default = allow\n');
  const { control, agent } = made;
  const dispatcher = await openDispatcher({ home: control.home });
  atEnd(() => dispatcher.close());
  const api = await apiOver(dispatcher, { base: '/fleet', heartbeat: 50 });
  await api.get('/discovery?hosts=web-01');
  return { control, agent, api, held, dispatcher, flag, directory };
});

const { routes } = apiRoutes('1.0.0');

describe('the requests that the document shows', () => {
  const examples = routes.flatMap((route) =>
    Object.entries(route.examples).map(([name, example]) => ({ route, name, example })),
  );

  it.each(examples.map((each) => [`${each.route.id} ${each.name}`, each] as const))(
    '%s is answered as it says',
    async (_name, { route, example }) => {
      const { api } = fleet();
      const { params = {}, query = {}, headers = {}, body } = example;
      // What is forgotten is not the agent that the others need; and each has a key of its own.
      const given: Readonly<Record<string, string>> =
        route.id === 'unpairAgent' ? { name: 'web-02' } : params;
      const key = headers['idempotency-key'] === undefined ? {} : { 'idempotency-key': route.id };
      const path = route.path.replaceAll(/\{(\w+)\}/g, (_all, name: string) => given[name] ?? '');
      const { status, text, json } = await api.ask(
        route.method.toUpperCase(),
        `${path}?${new URLSearchParams(query)}`,
        { ...(body && { body }), headers: { ...headers, ...key } },
      );
      // What the example names may not be there; the form of the request must be right.
      expect([status, text]).not.toEqual([400, text]);
      expect(status).toBeLessThan(500);
      const ofThisFleet = !/\{(reqid|id)\}/.test(route.path);
      if (ofThisFleet) expect(status).toBeLessThan(300);
      // The next example finds no lock.
      if (status === 202)
        await eventually(async () =>
          expect((await api.get(`/v1/runs/${json.reqid}`)).json).toMatchObject({ complete: true }),
        );
    },
  );
});

describe('over real agents', () => {
  it('output comes as it is written, characters whole, bytes that are none as base64', async () => {
    const { api } = fleet();
    const { text, headers } = await api.post(
      '/v1/runs',
      { hosts: ['web-01'], script: 'utf8' },
      { accept: 'text/event-stream' },
    );
    expect(headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
    });
    const events = eventsIn(text);
    const [begin, ...rest] = events;
    expect(begin).toEqual({ event: 'begin', data: { reqid: expect.stringMatching(/^[0-9a-f]{16}$/) } });
    const outputs = rest.filter(({ event }) => event === 'output').map(({ data }) => data);
    const written = (stream: string) => outputs.filter((each) => each.stream === stream);
    expect(
      written('stdout')
        .map(({ text: part }) => part)
        .join(''),
    ).toBe('café €\n');
    const bytes = written('stderr').map((each) =>
      each.text === undefined ? Buffer.from(each.base64, 'base64') : Buffer.from(each.text),
    );
    expect(Buffer.concat(bytes)).toEqual(Buffer.from([0x65, 0x72, 0x72, 0xff]));
    expect(events.at(-2)).toMatchObject({ event: 'result', data: { host: 'web-01', exit: 0 } });
    expect(events.at(-1)).toEqual({ event: 'end', data: { reqid: begin?.data.reqid, failed: [] } });
  });

  it('what is refused before a run begins is an answer like any other', async () => {
    const { api } = fleet();
    const asked = { accept: 'text/event-stream' };
    const { status, json } = await api.post('/v1/runs', { hosts: ['web-01'], script: 'a\nb' }, asked);
    expect([status, json.error]).toEqual([400, 'invalid_argument']);
  });

  it('output is there before the script has ended; a client that goes away does not end it', async () => {
    const { api, flag, directory } = fleet();
    const { request, answer, soFar } = api.open('POST', '/v1/runs', {
      body: { hosts: ['web-01'], script: 'told' },
      headers: { accept: 'text/event-stream' },
    });
    answer.catch(() => undefined);
    await eventually(() => expect(soFar()).toContain('"text":"before\\n"'));
    await eventually(() => expect(soFar()).toContain(': still here\n\n'));
    const [begin] = eventsIn(soFar());
    request.destroy();
    writeFileSync(flag, '');
    await eventually(async () => {
      const { json } = await api.get(`/v1/runs/${begin?.data.reqid}`);
      expect(json).toMatchObject({ complete: true, results: [{ exit: 0, stdout: 'before\nafter\n' }] });
    });
    expect(existsSync(join(directory, 'ended'))).toBe(true);
  });

  it('the end of a run of another process is told as it is learnt', async () => {
    const { api, control, held } = fleet();
    const submitted = JSON.parse(
      (await control.command('run', '--json', '--async', 'web-01', 'held')).stdout,
    );
    await held.started();
    const again = await api.post('/run', { hosts: ['web-01'], script: 'held', async: true });
    expect([again.status, again.json.conflicts]).toEqual([409, ['web-01:held']]);
    const watched = api.open('GET', `/v1/runs/${submitted.reqid}/events`);
    await eventually(() => expect(watched.soFar()).toContain('event: status'));
    held.open();
    const { text } = await watched.answer;
    expect(eventsIn(text).map(({ event }) => event)).toEqual(['status', 'host', 'end']);
    expect(eventsIn(text).at(1)?.data).toMatchObject({ host: 'web-01', status: 'done', stdout: 'done\n' });
    expect(eventsIn(text).at(2)?.data).toEqual({ reqid: submitted.reqid, outcome: 'succeeded' });
  });
});

describe('the page', () => {
  it('loads its parts from here, and nothing from elsewhere', async () => {
    const { api } = fleet();
    const page = await api.get('/docs');
    const policy = String(page.headers['content-security-policy']);
    expect(policy).toContain("script-src 'self';");
    expect(page.text).not.toMatch(/<script>|https?:/);
    const parts = [...page.text.matchAll(/(?:src|href)="(\/[^"]+)"/g)].map(([, path]) => path ?? '');
    expect(parts).toHaveLength(3);
    for (const part of parts) {
      const answer = await fetch(`http://127.0.0.1:${api.port}${part}`);
      expect([part, answer.status]).toEqual([part, 200]);
      expect((await answer.text()).length).toBeGreaterThan(50);
    }
    const [, spec = ''] = /data-spec="([^"]+)"/.exec(page.text) ?? [];
    expect(spec).toBe('/fleet/openapi-live.json');
  });

  it('asks for credentials where the hook says no, and nothing else does', async () => {
    const control = await dispatcherOnDisk();
    await using dispatcher = await openDispatcher({ home: control.home });
    const api = await apiOver(dispatcher);
    const page = await api.get('/docs');
    expect([page.status, page.headers['www-authenticate']]).toEqual([
      401,
      'Basic realm="ctrl-exec", charset="UTF-8"',
    ]);
    const route = await api.get('/v1/locks');
    expect([route.status, route.headers['www-authenticate']]).toEqual([403, undefined]);
  });
});

const shell = (command: string) =>
  new Promise<string>((resolve, reject) => {
    const env = { PATH: process.env['PATH'] ?? '', TOKEN: 't' };
    execFile('/bin/sh', ['-c', command], { env }, (error, output) =>
      error ? reject(error) : resolve(output),
    );
  });

describe('docs/api.md', () => {
  const text = existsSync('docs/api.md') ? readFileSync('docs/api.md', 'utf8') : '';
  const commands = [...text.matchAll(/```sh\n(curl [^`]+)```/g)].map(([, command]) => command?.trim() ?? '');

  it('has commands', () => expect(commands.length).toBeGreaterThan(8));

  it('each of them works as it stands', async () => {
    const { api } = fleet();
    const run = await api.post('/run', { hosts: ['web-01'], script: 'greet' });
    for (const command of commands) {
      const here = command
        .replaceAll('http://127.0.0.1:7445', `http://127.0.0.1:${api.port}/fleet`)
        .replaceAll('eab1731a91c588ee', run.json.reqid);
      // Not in this process, which has to answer meanwhile.
      const output = await shell(here);
      expect([command, output]).not.toEqual([command, expect.stringContaining('"ok":false')]);
      expect([command, output.length > 0]).toEqual([command, true]);
    }
  });
});
