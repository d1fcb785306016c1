import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { commandFile, freePort, type Started, shared } from '../../support/commands/commands.js';
import { noTerminal, readable, startOnTerminal } from '../../support/commands/terminal.js';
import { configure, gate, pairedFleet } from '../../support/fleet/fleet.js';
import { stallingProxy } from '../../support/network/holding-proxy.js';

const fleet = shared(() => pairedFleet({ one: 'web-01', two: 'web-02' }));

/** A script that prints, then waits for its gate, then prints `done`. */
const chatty = (says: string, job = gate()) => ({
  ...job,
  script: job.script.replace('printf x', `${says}\nprintf x`),
});

/** Both agents serve; each has a `job` of its own. */
async function serving(says: string, other = says) {
  const { control, one, two } = fleet();
  const jobs = [chatty(says), chatty(other)] as const;
  one.script('job', jobs[0].script);
  two.script('job', jobs[1].script);
  const daemons = [await one.serve(), await two.serve()] as const;
  return { control, one, two, jobs, daemons };
}

const idOf = (following: Started) => following.shows(/^Following run ([0-9a-f]{16})$/m, 'stderr');

describe('a run that is followed', () => {
  it('cannot be used by one host to write lines of another, or to move the cursor', async () => {
    const forged = String.raw`printf 'a\rweb-02: forged\nb\033[1A\033[2Kweb-02: forged\n'; printf 'web-02 STDERR: c\302\205d\tend'`;
    const { control, jobs } = await serving(forged);
    const following = control.start('run', '--follow', 'web-01', 'job');
    await following.shows(/^web-01: a/m);
    jobs[0].open();
    const { stdout } = await following.ended;
    expect(stdout.split('\n').slice(0, 3)).toEqual([
      'web-01: a\\rweb-02: forged',
      'web-01: b\\u001b[1A\\u001b[2Kweb-02: forged',
      'web-01: web-02 STDERR: c\\u0085d\tenddone',
    ]);
  });

  it.each([
    ['a little', '(i=0; while [ $i -lt 40 ]; do echo x; sleep 0.05; i=$((i+1)); done)'],
    ['all it can', 'timeout 20 yes'],
  ])('is done when its script is, whatever goes on writing %s', async (_much, command) => {
    const { control, one } = fleet();
    one.script('writer', `#!/bin/sh\necho started\n${command} &\nexit 0\n`);
    await one.serve();
    const { code, stdout } = await control.command('run', '--follow', 'web-01', 'writer');
    expect([code, stdout]).toEqual([0, expect.stringContaining('web-01: started')]);
    expect(stdout).not.toContain('UNVERIFIED');
  });

  it('is all of its output where the result has head and tail of it, or bytes that are no text', async () => {
    const { control, one } = fleet();
    one.script('long', "#!/bin/sh\nhead -c 2000000 /dev/zero | tr '\\0' x\nprintf '\\377' >&2\n");
    configure(one, 'max_output = 1001\n');
    await one.serve();
    const { code, stdout } = await control.command('run', '--follow', 'web-01', 'long');
    expect([code, stdout]).toEqual([
      0,
      expect.stringContaining('TRUNCATED: stdout: head and tail of 2000000'),
    ]);
    expect(stdout).not.toContain('UNVERIFIED');
  });

  it('that loses its agent says that the output was not authenticated, and keeps nothing of it', async () => {
    const { control, one, jobs, daemons } = await serving('echo some');
    const following = control.start('run', '--follow', 'web-01', 'job');
    const reqid = await idOf(following);
    await following.shows(/^web-01: some$/m);
    await daemons[0].stop('SIGKILL');
    const { code, stdout, stderr } = await following.ended;
    expect(code).toBe(1);
    expect(stdout).toMatch(/^==> web-01 {2}\[UNKNOWN {2}exit:-1 .*\n {4}ERROR: no answer from .*closed/m);
    expect(stdout).toMatch(/^ {4}UNVERIFIED: the output of web-01 above was never authenticated$/m);
    expect(stderr).toContain(
      `No end is known of web-01, where the script may go on: "ctrl-exec status ${reqid}"`,
    );
    const recorded = JSON.parse((await control.command('status', reqid, '--json')).stdout);
    expect(recorded.results).toMatchObject([
      {
        ...{ state: 'unknown', exit: -1, stdout: '', stderr: '' },
        fetch_error: expect.stringContaining('nothing listens'),
      },
    ]);
    await one.serve();
    const after = await control.command('status', reqid);
    expect(after.stdout).toMatch(/^==> web-01 {2}\[FAIL {2}exit:-1 .*\n {4}ERROR: lost: /m);
    jobs[0].open();
  });

  it('goes on when it is interrupted, and says how it is stopped', async () => {
    const { control, jobs } = await serving('echo some');
    const down = `127.0.0.1:${await freePort()}`;
    const following = control.start('run', '--follow', down, 'web-01', 'job');
    const reqid = await idOf(following);
    await following.shows(/^web-01: some$/m);
    const { code, stdout, stderr } = await following.stop('SIGINT');
    expect(code).toBe(130);
    expect(stdout).toMatch(/^==> web-01 {2}\[RUNNING {2}exit:-1 .*\n {4}ERROR: stopped by the caller\n/m);
    expect(stdout).toMatch(/^ {4}UNVERIFIED: the output of web-01 above was never authenticated$/m);
    expect(stderr).toContain('Interrupted: what has begun goes on.');
    expect(stderr).toContain(`"ctrl-exec cancel ${reqid}" stops it`);
    jobs[0].open();
    const waited = await control.command('wait', reqid);
    expect([waited.code, waited.stdout]).toEqual([1, expect.stringContaining('some\ndone\n')]);
  });

  it('goes on when the command is killed, and its end can be fetched', async () => {
    const { control, jobs } = await serving('echo some');
    const following = control.start('run', '--follow', 'web-01', 'web-02', 'job');
    const reqid = await idOf(following);
    for (const host of ['web-01', 'web-02']) await following.shows(new RegExp(`^${host}: some$`, 'm'));
    await following.stop('SIGKILL');
    for (const job of jobs) job.open();
    const waited = await control.command('wait', reqid);
    expect(waited.code).toBe(0);
    for (const host of ['web-01', 'web-02'])
      expect(waited.stdout).toMatch(new RegExp(`^==> ${host} {2}\\[OK`, 'm'));
  });

  it('whose stream breaks before its end, which its agent can tell, does not pass a part of the output off as all', async () => {
    const { control, one, jobs, daemons } = await serving('echo some');
    const proxy = await stallingProxy(one.port);
    const move = (port: number) => control.command('edit-agent', 'web-01', '--agent-port', String(port));
    expect((await move(proxy.port)).code).toBe(0);
    const following = control.start('run', '--follow', 'web-01', 'job');
    const reqid = await idOf(following);
    await following.shows(/^web-01: some$/m);
    proxy.stall();
    jobs[0].open();
    await daemons[0].shows(new RegExp(`ACTION=run-end .*REQID=${reqid}`), 'stderr');
    proxy.cut();
    const { code, stdout } = await following.ended;
    await move(one.port);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^==> web-01 {2}\[OK {2}exit:0 /m);
    expect(stdout).toContain(
      `    UNVERIFIED: the output of web-01 above was never authenticated: "ctrl-exec status ${reqid}" shows what is\n`,
    );
    expect((await control.command('status', reqid)).stdout).toContain('\nsome\ndone\n');
  });

  it('can be stopped from another terminal', async () => {
    const { control } = await serving('echo some');
    const following = control.start('run', '--follow', 'web-01', 'job');
    const reqid = await idOf(following);
    await following.shows(/^web-01: some$/m);
    expect((await control.command('cancel', reqid)).code).toBe(0);
    const { code, stdout } = await following.ended;
    expect(code).toBe(1);
    expect(stdout).toMatch(/^==> web-01 {2}\[FAIL {2}exit:-1 .*\n {4}ERROR: cancelled\n$/m);
  });

  it('with --json is one event a line, each as it comes', async () => {
    const { control, jobs } = await serving("printf 'é\\377' >&2; echo some");
    const following = control.start('run', '--follow', '--json', 'web-01', 'job');
    await following.shows(/"text":"some\\n"/);
    jobs[0].open();
    const { code, stdout } = await following.ended;
    const events = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    const { reqid } = events[0];
    const bytes = (stream: string) =>
      Buffer.concat(
        events
          .filter((each) => each.event === 'output' && each.stream === stream)
          .map(({ text, base64 }) =>
            base64 === undefined ? Buffer.from(text) : Buffer.from(base64, 'base64'),
          ),
      ).toString('latin1');
    expect([code, events[0], events.at(-1)]).toEqual([
      0,
      { event: 'begin', reqid },
      { event: 'end', reqid, failed: [] },
    ]);
    expect([bytes('stdout'), bytes('stderr')]).toEqual([
      'some\ndone\n',
      `${Buffer.from('é').toString('latin1')}\xff`,
    ]);
    expect(events.at(-2)).toMatchObject({
      event: 'result',
      host: 'web-01',
      exit: 0,
      stdout: 'some\ndone\n',
      reqid,
    });
    const denied = await control.command('run', '--follow', '--json', 'nowhere', 'job');
    expect([denied.code, JSON.parse(denied.stdout)]).toMatchObject([64, { event: 'error', ok: 0 }]);
  });

  it('is left when nobody reads its output any more, although its script writes for ever, and can be stopped then', async () => {
    const { control, one } = fleet();
    one.script('forever', '#!/bin/sh\nexec yes\n');
    await one.serve();
    const command = [process.execPath, commandFile('ctrl-exec'), '--home', control.home];
    const line = ['-c', '"$@" | head -n 2', 'sh', ...command, 'run', '--follow', 'web-01', 'forever'];
    const { stdout, stderr } = await promisify(execFile)('/bin/sh', line);
    expect(stdout).toBe('web-01: y\nweb-01: y\n');
    const [, reqid = ''] = /^Following run ([0-9a-f]{16})$/m.exec(stderr) ?? [];
    expect(stderr).toContain(
      `No end is known of web-01, where the script may go on: "ctrl-exec status ${reqid}"`,
    );
    expect((await control.command('cancel', reqid)).code).toBe(0);
    const { stdout: ended } = await control.command('wait', reqid);
    expect(ended).toMatch(/^==> web-01 {2}\[FAIL {2}exit:-1 .*\n {4}ERROR: cancelled\n/m);
  });

  it('is not also async', async () => {
    const ended = await fleet().control.command('run', '--follow', '--async', 'web-01', 'job');
    expect([ended.code, ended.stderr]).toEqual([64, expect.stringContaining('--async')]);
  });
});

describe('a run of a single host', () => {
  it.skipIf(noTerminal !== undefined)(
    'shows on a terminal that it waits, and nothing of that once the answer is there',
    async () => {
      const { control, jobs } = await serving('echo some');
      const desk = startOnTerminal('ctrl-exec', ['run', 'web-01', 'job'], { home: control.home });
      await desk.shows(/waiting for an answer, 2\.\d s/);
      jobs[0].open();
      const { stdout } = await desk.ended;
      expect(stdout.slice(stdout.lastIndexOf('waiting for'))).toMatch(/s\r\S+==> web-01/);
      expect(readable(stdout)).toMatch(/==> web-01 {2}\[OK .*\n\| some\n\| done\n$/);
    },
  );
});
