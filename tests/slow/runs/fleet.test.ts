import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { shared, temporaryDirectory } from '../../support/commands/commands.js';
import { at, configure, pairedFleet, runJson, runOne, twin } from '../../support/fleet/fleet.js';

const serving = (name: string, env: string, role: string) => ({
  name,
  conf: `[tags]\nenv = ${env}\nrole = ${role}\n`,
  scripts: { name: `#!/bin/sh\necho ${name}\n` },
  serves: true,
});

/** Three agents that serve, and one that is paired and down. */
const fleet = shared(async () => {
  const { control, down, ...agents } = await pairedFleet({
    'web-01': serving('web-01', 'prod', 'web'),
    'web-02': serving('web-02', 'test', 'web'),
    'db-01': serving('db-01', 'prod', 'db'),
    down: 'down-01',
  });
  const discovered = await control.command('discovery', 'web-01', 'web-02', 'db-01');
  if (discovered.code !== 0) throw new Error(discovered.stderr + discovered.stdout);
  return { control, down, agent: (name: keyof typeof agents) => agents[name] };
});

describe('hosts that fail', () => {
  const three = ['web-01', 'web-02', 'db-01'];

  it('in text, each under its own head', async () => {
    const { control, down } = fleet();
    const { code, stdout } = await control.command('run', 'web-01', 'down-01', 'db-01', 'name');
    const times = stdout.replaceAll(/\d+ms {2}req:[0-9a-f]{16}/g, 'T');
    expect(times).toBe(
      [
        '==> web-01  [OK  exit:0  T]',
        'web-01',
        '==> down-01  [FAIL  exit:-1  T]',
        `    ERROR: nothing listens on 127.0.0.1:${down.port}`,
        '==> db-01  [OK  exit:0  T]',
        'db-01',
        '',
      ].join('\n'),
    );
    expect(code).toBe(1);
  });

  it('a host that is named twice, however it is written, counts once', async () => {
    const { control } = fleet();
    const results = await runJson(control, ['web-01', 'db-01', 'WEB-01', 'web-01'], 'name');
    expect(results.map(({ host }) => host)).toEqual(['web-01', 'db-01']);
  });

  it('ping: a header, dashes, one line a host; exit 1 when one fails', async () => {
    const { control, down } = fleet();
    const { code, stdout } = await control.command('ping', 'web-01', 'down-01');
    const [header = '', dashes = '', first = '', second = '', ...rest] = stdout.split('\n');
    expect(header).toMatch(/^HOST +STATUS +RTT +EXPIRY +VERSION +ERROR$/);
    expect(dashes).toMatch(/^-+$/);
    expect(first).toMatch(
      /^web-01( \(\S+\))? +ok +\d+ms +[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4} GMT +\d+\.\d+\.\d+$/,
    );
    expect(second).toMatch(
      new RegExp(`^down-01 +error +\\d+ms +- +- +nothing listens on 127.0.0.1:${down.port}$`),
    );
    expect({ code, rest }).toEqual({ code: 1, rest: [''] });
    expect((await control.command('ping', ...three)).code).toBe(0);
  });

  it('ping as JSON', async () => {
    const { control } = fleet();
    const { stdout } = await control.command('ping', '--json', 'web-01', 'down-01');
    const { ok, reqid, results } = JSON.parse(stdout);
    expect(ok).toBe(1);
    expect(reqid).toMatch(/^[0-9a-f]{16}$/);
    const rtt = expect.stringMatching(/^\d+ms$/);
    expect(results).toEqual([
      {
        host: 'web-01',
        status: 'ok',
        rtt,
        expiry: expect.stringMatching(/GMT$/),
        version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
        reported_hostname: expect.any(String),
      },
      { host: 'down-01', status: 'error', rtt, error: expect.stringContaining('nothing listens on') },
    ]);
  });
});

it('max_parallel bounds how many hosts work at a time', async () => {
  const { control, agent } = fleet();
  const directory = temporaryDirectory();
  const log = join(directory, 'log');
  const hosts: string[] = [];
  for (const each of ['web-01', 'web-01', 'web-02', 'db-01'] as const) {
    const another = await twin(agent(each));
    another.script('work', `#!/bin/sh\necho + >> ${log}\nsleep 0.3\necho - >> ${log}\n`);
    await another.serve();
    hosts.push(at(another));
  }
  const conf = join(directory, 'ctrl-exec.conf');
  writeFileSync(conf, 'dispatcher_id = control\nmax_parallel = 2\n');
  const { code } = await control.command('--config', conf, 'run', ...hosts, 'work');
  expect(code).toBe(0);
  let running = 0;
  let most = 0;
  const steps = readFileSync(log, 'utf8').trim().split('\n');
  for (const step of steps) {
    running += step === '+' ? 1 : -1;
    most = Math.max(most, running);
  }
  expect(steps).toHaveLength(8);
  expect(most).toBe(2);
});

describe('tags and the registry', () => {
  it('--tags names the agents that have all of them', async () => {
    const { control } = fleet();
    const named = async (filter: string) =>
      (await runJson(control, [], 'name', [], ['--tags', filter])).map(({ host }) => host);
    expect(await named('env=prod')).toEqual(['db-01', 'web-01']);
    expect(await named('role=web, env=prod')).toEqual(['web-01']);
  });

  it('tags that nobody has run nothing', async () => {
    const { control } = fleet();
    const { code, stdout, stderr } = await control.command('run', '--tags', 'env=moon', 'name');
    expect(stdout).toBe('');
    expect(stderr).toContain('no agent has the tags env=moon');
    expect(code).not.toBe(0);
  });

  it('list-agents: header, dashes, one line an agent, sorted', async () => {
    const { control, agent } = fleet();
    const { code, stdout } = await control.command('list-agents');
    const [header = '', dashes = '', ...lines] = stdout.split('\n');
    expect(header).toMatch(/^HOST +ADDRESS +PORT +STATE +PAIRED +EXPIRES +TAGS$/);
    expect(dashes).toMatch(/^-+$/);
    expect(lines.map((line) => line.split(' ')[0])).toEqual(['db-01', 'down-01', 'web-01', 'web-02', '']);
    const day = '\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\dZ';
    const { port } = agent('web-01');
    expect(lines[2]).toMatch(
      new RegExp(`^web-01 +127\\.0\\.0\\.1 +${port} +active +${day} +${day} +env=prod,role=web$`),
    );
    expect(code).toBe(0);
  });

  it('list-agents as JSON, and by tags', async () => {
    const { control, agent } = fleet();
    const { stdout } = await control.command('list-agents', '--json', '--tags', 'role=db');
    const moment = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/);
    expect(JSON.parse(stdout)).toEqual({
      ok: 1,
      agents: [
        {
          name: 'db-01',
          hostname: expect.any(String),
          ip: '127.0.0.1',
          port: agent('db-01').port,
          lookup_by: 'ip',
          pairing: 'v2',
          signed: true,
          paired: moment,
          state: 'active',
          keys: [
            {
              spki_sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
              state: 'active',
              serial: expect.stringMatching(/^[1-7][0-9a-f]{31}$/),
              expiry: moment,
            },
          ],
          tags: { env: 'prod', role: 'db' },
        },
      ],
    });
  });
});

describe('discovery', () => {
  it('shows tags and scripts with what their sidecars say, and refreshes the tags', async () => {
    const { control } = fleet();
    const agent = await control.pairAgent('app-01', '[tags]\nstage = one\n');
    const own = agent.script('own', '#!/bin/sh\n');
    const digest = agent.script('digest', '#!/bin/sh\n');
    const bad = agent.script('bad', '#!/bin/sh\n');
    agent.script('plain', '#!/bin/sh\n');
    const schema = {
      description: 'é',
      version: '2.1',
      arguments: { type: 'object', properties: { b: {}, a: {} } },
    };
    writeFileSync(`${own}.schema.json`, JSON.stringify(schema));
    writeFileSync(`${digest}.schema.json`, '{"b": 1, "a": [true, null]}');
    writeFileSync(`${bad}.schema.json`, '[]');
    writeFileSync(join(agent.home, 'scripts.conf'), 'gone = /nonexistent/gone\n', { flag: 'a' });
    const daemon = await agent.serve();
    expect(daemon.output('stderr')).toContain(`${bad}.schema.json: not advertised: not a JSON object`);

    const json = await control.command('discovery', '--json', 'app-01');
    const { ok, hosts } = JSON.parse(json.stdout);
    expect({ code: json.code, ok, names: Object.keys(hosts) }).toEqual({ code: 0, ok: 1, names: ['app-01'] });
    expect(hosts['app-01']).toEqual({
      host: 'app-01',
      status: 'ok',
      version: expect.stringMatching(/^\d+\.\d+\.\d+$/),
      rtt: expect.stringMatching(/^\d+ms$/),
      tags: { stage: 'one' },
      reported_hostname: expect.any(String),
      scripts: [
        { name: 'bad', path: bad, executable: true },
        // The digest of {"a":[true,null],"b":1}.
        {
          name: 'digest',
          path: digest,
          executable: true,
          schema: { b: 1, a: [true, null] },
          schema_version: 'sha256:51705a2c9eb3',
        },
        { name: 'gone', path: '/nonexistent/gone', executable: false },
        { name: 'own', path: own, executable: true, schema, schema_version: '2.1' },
        { name: 'plain', path: join(agent.home, 'plain.script'), executable: true },
      ],
    });

    const text = await control.command('discovery', 'app-01');
    const [head = '', ...lines] = text.stdout.split('\n');
    expect(head).toMatch(/^==> app-01( \(\S+\))? {2}\[OK {2}\d+ms {2}version:\d+\.\d+\.\d+\]$/);
    expect(lines).toEqual([
      '    tags: stage=one',
      `    bad  ${bad}`,
      `    digest  ${digest}`,
      '    gone  /nonexistent/gone  (not executable)',
      `    own  ${own}`,
      `    plain  ${agent.home}/plain.script`,
      '',
    ]);

    configure(agent, '[tags]\nstage = two\n');
    writeFileSync(`${own}.schema.json`, '{"version":"3"}');
    daemon.child.kill('SIGHUP');
    await daemon.shows(/ACTION=reloaded/, 'stderr');
    const again = JSON.parse((await control.command('discovery', '--json', 'app-01')).stdout).hosts['app-01'];
    expect(again.tags).toEqual({ stage: 'two' });
    expect(again.scripts[3]).toMatchObject({ name: 'own', schema_version: '3' });
    const listed = await control.command('list-agents', '--json', '--tags', 'stage=two');
    expect(JSON.parse(listed.stdout).agents).toMatchObject([{ name: 'app-01' }]);
    await control.command('unpair', 'app-01');
  });

  it('without hosts asks the whole registry; a host that fails stands beside the others, exit 1', async () => {
    const { control } = fleet();
    const { code, stdout } = await control.command('discovery', '--json');
    const { hosts } = JSON.parse(stdout);
    expect(hosts['web-01'].status).toBe('ok');
    expect(hosts['down-01']).toEqual({
      host: 'down-01',
      status: 'error',
      error: expect.stringContaining('nothing listens on'),
      rtt: expect.stringMatching(/^\d+ms$/),
    });
    expect(code).toBe(1);
    const text = await control.command('discovery', 'down-01');
    expect(text.stdout).toMatch(/^==> down-01 {2}\[FAIL {2}\d+ms\]\n {4}ERROR: nothing listens on .*\n$/);
  });
});

describe('unpair', () => {
  it('the agent is forgotten, and nothing is sent to its key any more', async () => {
    const { control } = fleet();
    const agent = await control.pairAgent('gone-01');
    const ran = join(temporaryDirectory(), 'ran');
    agent.script('touch', `#!/bin/sh\ntouch ${ran}.$1\n`);
    await agent.serve();
    expect((await runOne(control, 'gone-01', 'touch', 'before')).exit).toBe(0);
    const { code, stdout } = await control.command('unpair', 'GONE-01');
    expect({ code, stdout }).toEqual({ code: 0, stdout: expect.stringContaining('Unpaired gone-01') });
    expect((await control.command('list-agents')).stdout).not.toContain('gone-01');
    const result = await runOne(control, at(agent), 'touch', 'after');
    expect(result).toMatchObject({ exit: -1, error: expect.stringContaining('wrong identity') });
    expect(() => readFileSync(`${ran}.after`)).toThrow('ENOENT');
    const again = await control.command('unpair', 'gone-01');
    expect(again).toMatchObject({ code: 2, stderr: expect.stringContaining('gone-01') });
  });
});
