import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createApiClient } from '../../../src/apps/library/client.js';
import { failure, value } from '../../contract/result.js';
import {
  type ApiProcess,
  authHook,
  serveApi,
  setSettings,
  stopsListening,
} from '../../support/api/process.js';
import { eventually, gate, pairedHost } from '../../support/fleet/fleet.js';

const host = pairedHost();

/** An API over an agent that serves, with what is to be run there. */
async function fleet(conf = '', scripts: Readonly<Record<string, string>> = {}) {
  const agent = await host.fresh();
  agent.script('hello', '#!/bin/sh\necho hello\n');
  agent.script('fail', '#!/bin/sh\nexit 3\n');
  for (const [name, text] of Object.entries(scripts)) agent.script(name, text);
  await agent.serve();
  setSettings(host.control(), `api_auth_default = allow\n${conf}`);
  const api = await serveApi(host.control().home);
  const target = `127.0.0.1:${agent.port}`;
  return {
    api,
    target,
    run: (script: string, more: object = {}) =>
      api.ask('/run', { body: { hosts: [target], script, ...more } }),
  };
}

/** The value of one metric, labels as written; undefined: there is none. */
async function metric(api: ApiProcess, line: string): Promise<number | undefined> {
  const { text } = await api.ask('/metrics');
  const found = text.split('\n').find((each) => each.startsWith(`${line} `));
  return found === undefined ? undefined : Number(found.split(' ').at(-1));
}

describe('a signal while a script runs', () => {
  it('SIGTERM: no new connection, its answer is given whole, exit 0', async () => {
    const busy = gate();
    const { api, run } = await fleet('', { busy: busy.script });
    const answer = run('busy');
    await busy.started();
    api.process.child.kill('SIGTERM');
    await stopsListening(api.port);
    busy.open();
    expect((await answer).json).toMatchObject({ ok: true, results: [{ exit: 0, stdout: 'done\n' }] });
    expect((await api.process.ended).code).toBe(0);
  });

  it('a second SIGTERM does not wait: the answer says that nobody heard the end, exit 0', async () => {
    const busy = gate();
    const { api, run } = await fleet('', { busy: busy.script });
    const answer = run('busy');
    await busy.started();
    api.process.child.kill('SIGTERM');
    await stopsListening(api.port);
    api.process.child.kill('SIGTERM');
    expect((await answer).json).toMatchObject({ ok: true, results: [{ exit: -1 }] });
    expect((await api.process.ended).code).toBe(0);
    busy.open();
  });

  it('SIGTERM: whoever watches a run is told that it ends, at once', async () => {
    const busy = gate();
    const { api, run } = await fleet('', { busy: busy.script });
    const { json } = await run('busy', { async: true });
    await busy.started();
    const watching = api.ask(`/v1/runs/${json.reqid}/events`, { headers: { accept: 'text/event-stream' } });
    await eventually(async () => {
      expect(await metric(api, 'ctrl_exec_calls_under_way')).toBeGreaterThan(0);
    });
    const began = performance.now();
    api.process.child.kill('SIGTERM');
    expect((await watching).text).toMatch(/event: error\ndata: .*"aborted".*\n\n$/);
    expect((await api.process.ended).code).toBe(0);
    expect(performance.now() - began).toBeLessThan(10_000);
    busy.open();
  });

  it('SIGTERM: whoever repeats a run by its key is told that it may have begun, and is given the first one later', async () => {
    const busy = gate();
    const { api, target } = await fleet('', { busy: busy.script });
    const request = { hosts: [target], script: 'busy' };
    const once = { idempotencyKey: 'deploy-2041' };
    const clientOf = ({ port }: ApiProcess) => createApiClient({ url: `http://127.0.0.1:${port}` });
    const [first, repeating] = [clientOf(api), clientOf(api)];
    const answer = first.run(request, once);
    await busy.started();
    const repetition = repeating.run(request, once);
    await eventually(async () => {
      expect(await metric(api, 'ctrl_exec_calls_under_way')).toBeGreaterThan(1);
    });
    api.process.child.kill('SIGTERM');
    const told = failure(await repetition);
    expect(told).toEqual({ code: 'aborted', message: expect.stringContaining('may have been begun') });
    api.process.child.kill('SIGTERM');
    const { reqid, results } = value(await answer);
    expect(results).toMatchObject([{ exit: -1 }]);
    expect((await api.process.ended).code).toBe(0);
    busy.open();
    const again = clientOf(await serveApi(host.control().home));
    expect(value(await again.run(request, once)).reqid).toBe(reqid);
    await eventually(async () => {
      expect(value(await again.status(reqid))).toMatchObject({ results: [{ exit: 0, stdout: 'done\n' }] });
    });
    await Promise.all([first, repeating, again].map((each) => each.close()));
  });

  it('SIGHUP: it ends on the dispatcher that it began with, the next request has the new configuration', async () => {
    const busy = gate();
    const { api, run } = await fleet('', { busy: busy.script });
    const answer = run('busy');
    await busy.started();
    setSettings(host.control(), 'api_auth_default = deny');
    expect(await api.reload()).toBe('ACTION=api-reload');
    expect((await run('hello')).status).toBe(403);
    setSettings(host.control(), 'api_auth_default = allow');
    expect(await api.reload()).toBe('ACTION=api-reload');
    expect((await run('busy')).json).toMatchObject({ error: 'locked', code: 4 });
    busy.open();
    expect((await answer).json).toMatchObject({ ok: true, results: [{ exit: 0, stdout: 'done\n' }] });
    expect((await run('hello')).json).toMatchObject({ ok: true, results: [{ exit: 0 }] });
    expect((await api.process.stop()).code).toBe(0);
  });

  it('a client that leaves does not end the run, also not over a reload', async () => {
    const busy = gate();
    const { api, run, target } = await fleet('', { busy: busy.script });
    const leaving = new AbortController();
    const left = api
      .ask('/run', { body: { hosts: [target], script: 'busy' }, signal: leaving.signal })
      .catch(() => 'left');
    await busy.started();
    leaving.abort();
    expect(await left).toBe('left');
    await api.process.shows(/PATH=\/run STATUS=499/, 'stderr');
    await api.reload();
    expect((await run('busy')).status).toBe(409);
    busy.open();
    await api.process.shows(/ACTION=run-result .*EXIT=0/, 'stderr');
    await eventually(async () => expect((await run('busy')).status).toBe(200));
  });
});

it('above api_max_concurrent 503 with Retry-After, while health and metrics answer', async () => {
  const busy = gate();
  const { api, run } = await fleet('api_max_concurrent = 1', { busy: busy.script });
  const answer = run('busy');
  await busy.started();
  const refused = await run('hello');
  expect(refused).toMatchObject({ status: 503, json: { ok: false, error: 'busy' } });
  expect(refused.headers['retry-after']).toBe('1');
  expect((await api.ask('/health')).status).toBe(200);
  expect((await api.ask('/metrics')).status).toBe(200);
  busy.open();
  expect((await answer).status).toBe(200);
  expect((await run('hello')).status).toBe(200);
});

describe('GET /metrics', () => {
  it('counts runs, hosts, errors and requests of this process', async () => {
    const { api, run } = await fleet();
    for (const script of ['hello', 'hello', 'fail']) await run(script);
    await api.ask('/run', { body: { hosts: [], script: 'hello' } });
    await api.ask('/status/0000000000000000');
    // Of runs that other tests have left.
    const { locks } = (await api.ask('/v1/locks')).json;
    const { text, headers } = await api.ask('/metrics');
    expect(headers['content-type']).toMatch(/^text\/plain; version=0\.0\.4/);
    for (const line of [
      'ctrl_exec_runs_total{mode="sync",outcome="succeeded"} 2',
      'ctrl_exec_runs_total{mode="sync",outcome="failed"} 1',
      'ctrl_exec_run_duration_seconds_count{mode="sync"} 3',
      'ctrl_exec_host_results_total{state="succeeded"} 2',
      'ctrl_exec_host_results_total{state="failed"} 1',
      'ctrl_exec_api_requests_total{method="POST",route="/run",status="200"} 3',
      'ctrl_exec_agents{state="current"} 1',
      `ctrl_exec_locks_held ${locks.length}`,
      'ctrl_exec_pairing_requests_waiting 0',
      'ctrl_exec_scrape_failures 0',
    ])
      expect(text).toContain(`${line}\n`);
    expect(text).toMatch(/ctrl_exec_certificate_expiry_days\{certificate="dispatcher"\} 36[45]/);
    expect(text).toMatch(/ctrl_exec_agent_certificate_expiry_days\{agent="web-01"\} 36[45]/);
    expect(text).toMatch(/route="\/status\/:reqid",status="404"/);
    expect(text).toContain('nodejs_eventloop_lag_p99_seconds');
    expect(text).not.toContain('0000000000000000');
  });

  it('is for whom the hook allows api and metrics, and the log has who asked', async () => {
    const { api } = await fleet();
    const asked = join(host.control().home, 'asked');
    const hook = authHook(
      host.control(),
      `echo "$ENVEXEC_ACTION $ENVEXEC_USERNAME" >> ${asked}\n[ "$ENVEXEC_TOKEN" = right ] || exit 2\n[ "$ENVEXEC_USERNAME" = scraper ] || [ "$ENVEXEC_ACTION" = api ] || exit 3`,
    );
    setSettings(host.control(), `auth_hook = ${hook}`);
    writeFileSync(asked, '');
    await api.reload();
    const as = (pair: string) =>
      api.ask('/metrics', { headers: { authorization: `Basic ${Buffer.from(pair).toString('base64')}` } });
    expect(await as('scraper:wrong')).toMatchObject({
      status: 403,
      json: { error: 'bad credentials', code: 2 },
    });
    expect(await as('bob:right')).toMatchObject({ status: 403, json: { code: 3 } });
    expect((await as('scraper:right')).status).toBe(200);
    await api.process.shows(/PATH=\/metrics STATUS=200 USERNAME=scraper/, 'stderr');
    await api.process.shows(
      /ACTION=denied API_REQUEST=[0-9a-f]{16} IP=127\.0\.0\.1 .*REQUEST=metrics USERNAME=bob/,
      'stderr',
    );
    expect(api.process.output('stderr')).not.toContain('right');
  });
});

describe('maintenance', () => {
  it('is done every cert_check_interval, and the log and the metrics say so', async () => {
    const { api } = await fleet('cert_check_interval = 1');
    await api.process.shows(/(?:ACTION=maintained [\s\S]*?){2}/, 'stderr');
    expect(await metric(api, 'ctrl_exec_maintenance_last_success_timestamp_seconds')).toBeGreaterThan(1e9);
    expect((await api.process.stop()).code).toBe(0);
  });

  it('that fails is logged and tried again', async () => {
    const { api } = await fleet('cert_check_interval = 1');
    const identity = join(host.control().home, 'ctrl-exec.crt');
    renameSync(identity, `${identity}.away`);
    try {
      await api.process.shows(/(?:ACTION=maintenance-failed REASON=.*\n[\s\S]*?){2}/, 'stderr');
    } finally {
      renameSync(`${identity}.away`, identity);
    }
    const before = api.process.output('stderr').length;
    await eventually(() => expect(api.process.output('stderr').slice(before)).toContain('ACTION=maintained'));
  });
});
