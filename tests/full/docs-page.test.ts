import { createServer } from 'node:http';
import type { Locator, Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { servedToTheEnd } from '../support/api/api.js';
import { browser, chromiumPath, type WatchedPage, watchedPage } from '../support/api/browser.js';
import { authHook, serveApi, setSettings } from '../support/api/process.js';
import { shared } from '../support/commands/commands.js';
import { pairedFleet } from '../support/fleet/fleet.js';

const reason =
  chromiumPath === undefined ? ': skipped, Chromium is not installed (apt-get install chromium)' : '';

/** A dispatcher with one agent that serves. */
const fleet = shared(() => {
  const scripts = { greet: '#!/bin/sh\necho "hello $*"\n' };
  return pairedFleet({ agent: { name: 'web-01', conf: '[tags]\nenv = prod\n', scripts, serves: true } });
});

const opened = shared(async () => (chromiumPath === undefined ? undefined : await browser(['evil.example'])));
const chromium = () => {
  const found = opened();
  if (!found) throw new Error('no browser');
  return found;
};

/** The API of the fleet, as it is shipped. */
async function serve(conf: string) {
  setSettings(fleet().control, conf);
  const api = await serveApi(fleet().control.home);
  return { api, origin: `http://127.0.0.1:${api.port}` };
}

/** The token of everybody is `right`. */
const tokenHook = () =>
  serve(`auth_hook = ${authHook(fleet().control, '[ "$ENVEXEC_TOKEN" = right ] || exit 2')}`);

const operation = (page: Page, id: string): Locator => page.locator(`.opblock[id$="-${id}"]`);

/** Executes an operation on the page: status and text of the answer as it is shown. */
async function execute(page: Page, id: string, body?: object): Promise<{ status: string; json: unknown }> {
  const block = operation(page, id);
  if (!(await block.locator('.opblock-body').isVisible()))
    await block.locator('.opblock-summary-control').click();
  if (body) await block.locator('textarea.body-param__text').fill(JSON.stringify(body));
  const answered = page.waitForResponse((response) => response.request().resourceType() === 'fetch');
  await block.locator('button.execute').click();
  await (await answered).finished();
  const shown = block.locator('.live-responses-table tr.response').first();
  const status = (await shown.locator('.response-col_status').textContent())?.trim() ?? '';
  const text = await shown.locator('.highlight-code code, .highlight-code pre').first().textContent();
  return { status, json: JSON.parse(text ?? '') };
}

/** Gives credentials in the dialog of the page. */
async function authorize(page: Page, scheme: 'bearer' | 'basic', values: readonly string[]): Promise<void> {
  await page.locator('.auth-wrapper > .btn.authorize').click();
  const dialog = page.locator('.dialog-ux');
  const form = dialog.locator('.auth-container').filter({ hasText: `${scheme} (http` });
  for (const [index, value] of values.entries()) await form.locator('input').nth(index).fill(value);
  await form.getByRole('button', { name: 'Apply credentials' }).click();
  await dialog.locator('.close-modal').click();
}

/** Takes credentials back. */
async function forget(page: Page, scheme: 'bearer' | 'basic'): Promise<void> {
  await page.locator('.auth-wrapper > .btn.authorize').click();
  const dialog = page.locator('.dialog-ux');
  const form = dialog.locator('.auth-container').filter({ hasText: `${scheme} (http` });
  await form.getByRole('button', { name: 'Remove authorization' }).click();
  await dialog.locator('.close-modal').click();
}

/** A server of somebody else with one page, on a port of this host. */
async function otherSite(html: string): Promise<number> {
  const server = createServer((_request, response) => {
    response.setHeader('content-type', 'text/html').end(`<!doctype html><title>other</title>${html}`);
  });
  return servedToTheEnd(server);
}

async function opensDocs({ page }: WatchedPage, origin: string): Promise<void> {
  const answer = await page.goto(`${origin}/docs`);
  expect(answer?.status()).toBe(200);
  await operation(page, 'run').waitFor();
}

const mustBeClean = ({ complaints, asked }: WatchedPage, origin: string) => {
  expect(complaints).toEqual([]);
  expect(asked.filter((url) => !url.startsWith(`${origin}/`) && !url.startsWith('data:'))).toEqual([]);
};

describe.skipIf(chromiumPath === undefined)(`the page of the API in a browser${reason}`, () => {
  it('shows every operation, and asks nothing of any other host', async () => {
    const { api, origin } = await serve('api_auth_default = allow');
    const watched = await watchedPage(chromium());
    await opensDocs(watched, origin);
    const { page } = watched;
    const { paths } = (await api.ask('/openapi.json')).json;
    const operations = Object.values<object>(paths).flatMap((each) => Object.keys(each));
    expect(await page.locator('.opblock').count()).toBe(operations.length);
    expect(await page.locator('.info .title').textContent()).toMatch(/^ctrl-exec API/);
    expect(await execute(page, 'health')).toMatchObject({ status: '200', json: { ok: true } });
    mustBeClean(watched, origin);
  });

  it('is for whom the hook knows; what is tried on it is answered by the agent', async () => {
    const { api, origin } = await tokenHook();
    expect((await api.ask('/docs')).status).toBe(401);
    const watched = await watchedPage(chromium(), {
      httpCredentials: { username: 'anna', password: 'right' },
    });
    await opensDocs(watched, origin);
    const { page } = watched;
    const run = { hosts: ['web-01'], script: 'greet', args: ['a b', '$HOME'] };
    const asBrowser = await execute(page, 'ping', { hosts: ['web-01'] });
    expect(asBrowser).toMatchObject({ status: '200', json: { results: [{ host: 'web-01', status: 'ok' }] } });
    await api.process.shows(/PATH=\/ping STATUS=200 USERNAME=anna\n/, 'stderr');

    await authorize(page, 'basic', ['bob', 'right']);
    expect(await execute(page, 'ping', { hosts: ['web-01'] })).toMatchObject({ status: '200' });
    await api.process.shows(/PATH=\/ping STATUS=200 USERNAME=bob\n/, 'stderr');
    expect(await execute(page, 'run', run)).toMatchObject({
      status: '200',
      json: { ok: true, results: [{ host: 'web-01', exit: 0, stdout: 'hello a b $HOME\n' }] },
    });
    await api.process.shows(/PATH=\/run STATUS=200 USERNAME=bob\n/, 'stderr');
    await forget(page, 'basic');

    await authorize(page, 'bearer', ['right']);
    expect(await execute(page, 'run', run)).toMatchObject({ status: '200', json: { ok: true } });
    await api.process.shows(/PATH=\/run STATUS=200\n/, 'stderr');
    expect(await execute(page, 'health')).toMatchObject({ status: '200', json: { ok: true } });
    mustBeClean(watched, origin);
    await forget(page, 'bearer');

    await authorize(page, 'bearer', ['wrong']);
    expect(await execute(page, 'run', run)).toEqual({
      status: '403',
      json: { ok: false, error: 'bad credentials', code: 2 },
    });
    expect(api.process.output('stderr')).not.toContain('right');
  });

  it('another site cannot ask for its user, nor by a name that it makes resolve to this host', async () => {
    const { api, origin } = await serve('api_auth_default = allow');
    const before = (await api.ask('/v1/runs')).json.runs;
    const order = JSON.stringify({ hosts: ['web-01'], script: 'greet' });
    const elsewhere = await otherSite(
      `<script>fetch('${origin}/run', { method: 'POST', mode: 'no-cors', body: '${order}' }).then(() => { document.title = 'sent'; });</script>
      <form method="post" action="${origin}/v1/runs" enctype="text/plain"><input name='{"x' value='":1}'><button>go</button></form>
      <a href="${origin}/docs">docs</a>`,
    );
    const { page } = await watchedPage(chromium());
    for (const site of [`http://127.0.0.1:${elsewhere}`, `http://evil.example:${elsewhere}`]) {
      await page.goto(site);
      await page.waitForFunction('document.title === "sent"');
      const posted = page.waitForResponse(`${origin}/v1/runs`);
      await page.locator('button').click();
      expect((await posted).status()).toBe(403);
      await page.goto(site);
      await page.locator('a').click();
      await operation(page, 'run').waitFor();
    }
    const rebound = await page.goto(`http://evil.example:${api.port}/docs`);
    expect([rebound?.status(), await rebound?.text()]).toEqual([
      403,
      expect.stringContaining('Host must be'),
    ]);
    expect((await api.ask('/v1/runs')).json.runs).toEqual(before);
  });
});
