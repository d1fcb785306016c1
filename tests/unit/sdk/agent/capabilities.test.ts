import { describe, expect, it } from 'vitest';
import { memoryFileSystem } from '../../../../src/adapters/memory/file-system.js';
import { processOutcome } from '../../../../src/adapters/memory/process-runner.js';
import { servingAgent } from '../../../support/fleet/memory-agents.js';

describe('/capabilities', () => {
  const capabilities = async (options: Parameters<typeof servingAgent>[0]) => {
    const agent = await servingAgent(options);
    const told = await agent.ask({ method: 'GET', path: '/capabilities' });
    return { ...agent, told, scripts: told.json['scripts'] };
  };

  it('lists what the allowlist names, sorted, with what can be executed', async () => {
    const { told, scripts } = await capabilities({
      scripts: 'b = /opt/b\nZ = /opt/z profile=batch\na = /opt/missing\n',
      executable: ['/opt/b'],
      files: { '/opt/z': '' },
      configuration: '[tags]\nenv = prod\nrole = a = b\n',
    });
    expect(told.json).toMatchObject({
      status: 'ok',
      host: 'vm-7a3f',
      version: '1.2.3',
      features: ['settle', 'cancel', 'stream', 'crl', 'new-key'],
      tags: { env: 'prod', role: 'a = b' },
    });
    expect(scripts).toEqual([
      { name: 'Z', path: '/opt/z', executable: false, profile: 'batch' },
      { name: 'a', path: '/opt/missing', executable: false },
      { name: 'b', path: '/opt/b', executable: true },
    ]);
  });

  it('is an empty list without an allowlist, and says so in a warning', async () => {
    const { scripts, serving } = await capabilities({ scripts: null });
    expect(scripts).toEqual([]);
    expect(serving.warnings()).toEqual([expect.stringContaining('scripts.conf does not exist')]);
  });

  it('repeats a sidecar as it is, with its own version', async () => {
    const sidecar = '{"version":"2.1","b":[1,{"x":null}],"a":"\\u00e9\\u202e","description":"  d "}';
    const { scripts } = await capabilities({ files: { '/opt/greet.schema.json': sidecar } });
    expect(scripts).toMatchObject([{ schema: JSON.parse(sidecar), schema_version: '2.1' }]);
    expect(JSON.stringify((scripts as { schema: unknown }[])[0]?.schema)).toBe(
      JSON.stringify(JSON.parse(sidecar)),
    );
  });

  it.each([
    // printf '%s' '{"a":1,"b":[2,{"c":3,"d":4}]}' | sha256sum
    ['{ "b": [2, {"d": 4, "c": 3}], "a": 1 }'],
    ['{"a":1,"b":[2,{"c":3,"d":4}]}'],
  ])('has a version made of the canonical body where %s has none', async (sidecar) => {
    const { scripts } = await capabilities({ files: { '/opt/greet.schema.json': sidecar } });
    expect(scripts).toMatchObject([{ schema_version: 'sha256:88c3cdf568e7' }]);
  });

  it.each([
    ['{"version":"sha256:aaaaaaaaaaaa"}'],
    ['{"version":5}'],
    ['{"version":"with space"}'],
    [`{"version":"${'x'.repeat(65)}"}`],
    ['{"version":""}'],
  ])('has a version made of the body where its own is not one: %s', async (sidecar) => {
    const { scripts } = await capabilities({ files: { '/opt/greet.schema.json': sidecar } });
    expect(scripts).toMatchObject([{ schema_version: expect.stringMatching(/^sha256:[0-9a-f]{12}$/) }]);
    expect(scripts).not.toMatchObject([{ schema_version: 'sha256:aaaaaaaaaaaa' }]);
  });

  it.each([
    ['no JSON', '{'],
    ['a list', '[]'],
    ['a name twice', '{"a":1,"a":2}'],
    ['too much', `{"a":"${'x'.repeat(65_536)}"}`],
    ['nothing', ''],
  ])('leaves out a sidecar of %s, and only that', async (_what, sidecar) => {
    const { scripts, serving, ask } = await capabilities({
      scripts: 'greet = /opt/greet\nother = /opt/other\n',
      executable: ['/opt/greet', '/opt/other'],
      files: { '/opt/greet.schema.json': sidecar, '/opt/other.schema.json': '{"version":"1"}' },
      programs: { '/opt/greet': () => processOutcome(0) },
    });
    expect(scripts).toEqual([
      { name: 'greet', path: '/opt/greet', executable: true },
      { name: 'other', path: '/opt/other', executable: true, schema: { version: '1' }, schema_version: '1' },
    ]);
    expect(serving.warnings()).toEqual([
      expect.stringMatching(/^\/opt\/greet\.schema\.json: not advertised: ./),
    ]);
    expect((await ask({ body: { script: 'greet' } })).json).toMatchObject({ exit: 0 });
  });

  it('reads no sidecar of a script that is not allowlisted', async () => {
    const read: string[] = [];
    const inner = memoryFileSystem({
      '/etc/ctrl-exec-agent/agent.conf': '',
      '/etc/ctrl-exec-agent/scripts.conf': 'greet = /opt/greet\nbad/name = /opt/other\n',
      '/opt/other.schema.json': '{}',
    });
    await servingAgent({
      ports: {
        files: {
          ...inner,
          readText: (path, limit) => {
            read.push(path);
            return inner.readText(path, limit);
          },
        },
      },
    });
    expect(read).toContain('/opt/greet.schema.json');
    expect(read).not.toContain('/opt/other.schema.json');
  });
});
