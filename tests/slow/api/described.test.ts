import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { serveApi, setSettings } from '../../support/api/process.js';
import { commandFile, dispatcherOnDisk, shared } from '../../support/commands/commands.js';

const served = shared(async () => {
  const control = await dispatcherOnDisk();
  setSettings(control, 'api_auth_default = allow');
  return serveApi(control.home);
});

const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'];

/** Everything in the files of the command that could be the path of a route, and what it is told of itself. */
async function candidates(): Promise<string[]> {
  const bin = dirname(commandFile('ctrl-exec-api'));
  const files = readdirSync(bin, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.js'),
  );
  const written = files.flatMap((name) =>
    [...readFileSync(join(bin, name), 'utf8').matchAll(/["'`](\/[\w./{}:-]{0,60})["'`]/g)].map(
      ([, path = '']) => path,
    ),
  );
  const { json } = await served().ask('/');
  const page = await served().ask('/docs');
  const linked = [...page.text.matchAll(/(?:src|href|data-spec)="(\/[^"]*)"/g)].map(([, path = '']) => path);
  const listed: string[] = json.endpoints.map(({ path }: { path: string }) => path);
  const own = linked.filter((link) => !link.startsWith('data:'));
  return [...new Set([...written, ...listed, ...own])].map((path) => path.replaceAll(/\{\w+\}|:\w+/g, 'x'));
}

describe('/openapi.json of the running command', () => {
  let documented: Record<string, Record<string, unknown>>;
  let templates: RegExp[];
  beforeAll(async () => {
    documented = (await served().ask('/openapi.json')).json.paths;
    templates = Object.keys(documented).map(
      (path) => new RegExp(`^${path.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}$`),
    );
  });

  it('has every path that is answered', async () => {
    const paths = await candidates();
    expect(paths).toEqual(expect.arrayContaining(['/metrics', '/docs/start.js', '/v1/agents/x']));
    const answered = new Set<string>();
    for (const path of paths)
      for (const method of methods) {
        const { status, text } = await served().ask(path, { method });
        if (status !== 404 || text !== '{"ok":false,"error":"not found"}') answered.add(path);
      }
    const unknown = [...answered].filter((path) => !templates.some((template) => template.test(path)));
    expect(unknown).toEqual([]);
    expect(answered.size).toBeGreaterThan(20);
  });

  it('has nothing else: each of its paths is answered, by the methods that it has', async () => {
    for (const [path, operations] of Object.entries(documented)) {
      const real = path.replace('{part}', 'start.js').replaceAll(/\{\w+\}/g, 'x');
      const { status, headers } = await served().ask(real, { method: 'PUT' });
      const allowed = Object.keys(operations).map((method) => method.toUpperCase());
      expect([path, status, headers['allow']]).toEqual(
        path.startsWith('/v1/') ? [path, 405, allowed.sort().join(', ')] : [path, 404, undefined],
      );
      if (!path.includes('{') && 'get' in operations)
        expect([path, (await served().ask(real)).status]).toEqual([path, 200]);
    }
  });
});
