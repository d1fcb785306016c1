import { readFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { TLSSocket } from 'node:tls';
import { describe, expect, it } from 'vitest';
import { value } from '../../contract/result.js';
import { atEnd, shared } from '../../support/commands/commands.js';
import { agentCredentials, dispatcherCredentials, gate } from '../../support/fleet/fleet.js';
import { ran, servingFleet } from '../../support/fleet/lifecycle-fleet.js';
import { listening, openTls } from '../../support/network/raw-tls.js';
import { altered, signedConnection } from '../../support/network/signed-client.js';

const fleet = shared(() => servingFleet(['web-01', 'web-02'], 'event_log = stderr\n'));

const connect = async (name: string) => {
  await fleet().up(name);
  return signedConnection(fleet().agent(name).port, dispatcherCredentials(fleet().control));
};

let ids = 0;
/** A run of the script that leaves a mark each time. */
const counting = (reqid = `wire-${++ids}`) => ({
  path: '/run',
  body: { script: 'count', args: [], reqid, username: '', token: '' },
});

const answered = (reqid: string) => ({
  status: 200,
  signature: 'holds',
  body: { script: 'count', exit: 0, stdout: 'counted\n', stderr: '', reqid },
});

const refusal = (error: string) => ({ status: 401, signature: 'holds', body: { error } });

describe('a connection with the key of a trusted dispatcher', () => {
  it('has its signed requests answered, and the answers are signed', async () => {
    const wire = await connect('web-01');
    const before = fleet().counted('web-01');
    expect(await wire.ask(counting('plain'))).toEqual(answered('plain'));
    expect(await wire.ask({ path: '/capabilities' })).toMatchObject({ status: 200, signature: 'holds' });
    expect(fleet().counted('web-01')).toBe(before + 1);
  });

  it('no signature at all: signature required, nothing runs', async () => {
    const wire = await connect('web-01');
    const before = fleet().counted('web-01');
    const without = /^(signature|signature-input|content-digest|ctrl-exec-target)$/;
    const answer = await wire.send(altered(wire.compose(counting()), { without }));
    expect(answer).toEqual(refusal('signature required'));
    expect(fleet().counted('web-01')).toBe(before);
  });

  it('another body behind the same headers: signature invalid, nothing runs, and nothing is used up', async () => {
    const wire = await connect('web-01');
    const before = fleet().counted('web-01');
    const request = wire.compose(counting('body'));
    const body = JSON.stringify({ ...counting('body').body, args: ['--force'] });
    expect(await wire.send(altered(request, { body }))).toEqual(refusal('signature invalid'));
    expect(fleet().counted('web-01')).toBe(before);
    expect(await wire.send(request)).toEqual(answered('body'));
  });

  it('signed two minutes ago: signature expired, nothing runs', async () => {
    const wire = await connect('web-01');
    const before = fleet().counted('web-01');
    const answer = await wire.ask(counting(), { at: Date.now() - 120_000, lifetime: 60 });
    expect(answer).toEqual(refusal('signature expired'));
    expect(fleet().counted('web-01')).toBe(before);
  });

  it('what was signed for another agent: wrong target, nothing runs', async () => {
    const one = await connect('web-01');
    const before = fleet().counted('web-02');
    // The very bytes: the other agent is addressed as the first one was.
    expect(await (await connect('web-02')).send(one.compose(counting()))).toEqual(refusal('wrong target'));
    const other = await connect('web-02');
    expect(await other.ask(counting(), { target: one.agent })).toEqual(refusal('wrong target'));
    expect(fleet().counted('web-02')).toBe(before);
  });

  it('the refusals are in the log of the agent, with the exact reason', async () => {
    const wire = await connect('web-02');
    const daemon = await fleet().up('web-02');
    await wire.send(altered(wire.compose(counting('logged')), { without: /^signature/ }));
    const line = await daemon.shows(/(ACTION=request-unverified .*signature required.*)/, 'stderr');
    expect(line).toMatch(/DISPATCHER=control .*PATH=\/run/);
  });
});

describe('once', () => {
  it('the same bytes again: replayed, on the same connection, on another one, and after kill -9', async () => {
    const wire = await connect('web-01');
    const before = fleet().counted('web-01');
    const request = wire.compose(counting('again'));
    expect(await wire.send(request)).toEqual(answered('again'));
    expect(await wire.send(request)).toEqual(refusal('replayed'));
    expect(await (await connect('web-01')).send(request)).toEqual(refusal('replayed'));

    await fleet().down('web-01', 'SIGKILL');
    expect(await (await connect('web-01')).send(request)).toEqual(refusal('replayed'));
    expect(fleet().counted('web-01')).toBe(before + 1);
  });

  it('a request id runs once: the answer of then is given again, also after kill -9', async () => {
    const wire = await connect('web-01');
    const before = fleet().counted('web-01');
    expect(await wire.ask(counting('stored'))).toEqual(answered('stored'));
    expect(await wire.ask(counting('stored'))).toEqual(answered('stored'));

    await fleet().down('web-01', 'SIGKILL');
    const later = await connect('web-01');
    expect(await later.ask(counting('stored'))).toEqual(answered('stored'));
    expect(fleet().counted('web-01')).toBe(before + 1);
    const other = { ...counting('stored').body, script: 'hello' };
    expect((await later.ask({ path: '/run', body: other })).body).toMatchObject({ exit: -1 });
  });

  it('while it runs the answer is that it runs; when the agent went down meanwhile, that it is lost', async () => {
    const { script, started } = gate();
    const agent = fleet().agent('web-02');
    await fleet().down('web-02');
    agent.script('gate', script);
    const [one, other] = [await connect('web-02'), await connect('web-02')];
    const asked = { path: '/run', body: { script: 'gate', args: [], reqid: 'slow' } };
    const first = one.ask(asked).catch((error: Error) => error.message);
    await started();
    expect(await other.ask(asked)).toEqual({
      status: 409,
      signature: 'holds',
      body: { status: 'running', reqid: 'slow' },
    });
    await fleet().down('web-02', 'SIGKILL');
    expect(await first).toMatch(/^closed/);
    const { status, body } = await (await connect('web-02')).ask(asked);
    expect(status).toBe(200);
    expect(body).toMatchObject({ exit: -1, reqid: 'slow', error: expect.stringMatching(/^lost: /) });
    await started(1);
  });
});

/** What somebody in between makes of an answer, who holds both keys and so sees everything. */
type Alteration = (answer: string) => string;

/** Stands between dispatcher and agent with the keys of both, and alters answers. */
async function between(name: string, alteration: () => Alteration): Promise<number> {
  const { control } = fleet();
  const agent = fleet().agent(name);
  await fleet().up(name);
  const own = agentCredentials(agent);
  const sockets = new Set<Socket>();
  const server: Server = createServer(async (accepted) => {
    sockets.add(accepted);
    accepted.on('error', () => undefined);
    const client = new TLSSocket(accepted, {
      isServer: true,
      key: own.key,
      cert: own.certificate,
      ca: readFileSync(join(control.home, 'ca.crt')),
      requestCert: true,
      rejectUnauthorized: false,
    });
    client.on('error', () => undefined);
    const upstream = await openTls(agent.port, dispatcherCredentials(control));
    sockets.add(upstream);
    client.pipe(upstream);
    upstream.on('close', () => client.destroy());
    client.on('close', () => upstream.destroy());
    upstream.on('data', (bytes: Buffer) =>
      client.write(Buffer.from(alteration()(bytes.toString('latin1')), 'latin1')),
    );
  });
  const port = await listening(server);
  atEnd(
    () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(resolve);
      }),
  );
  return port;
}

describe('answers', () => {
  it('that were altered on the way are no result, whoever could read them', async () => {
    const { control, library } = fleet();
    let kept = '';
    const honest: Alteration = (answer) => {
      kept = answer;
      return answer;
    };
    let alteration = honest;
    const port = await between('web-01', () => alteration);
    const through = () => ran(library, `127.0.0.1:${port}`, 'count');
    const before = fleet().counted('web-01');
    expect(await through()).toMatchObject({ exit: 0, stdout: 'counted\n' });
    const earlier = kept;

    const alterations: Record<string, Alteration> = {
      body: (answer) => answer.replace('"stdout":"counted', '"stdout":"COUNTED'),
      'no signature headers': (answer) =>
        answer.replace(/^(signature|signature-input|content-digest): .*\r\n/gim, ''),
      'the answer to an earlier request': () => earlier,
    };
    for (const [what, made] of Object.entries(alterations)) {
      let changed = false;
      alteration = (answer) => {
        const after = made(answer);
        changed ||= after !== answer;
        return after;
      };
      const { reqid, state, exit, error, stdout } = await through();
      expect({ what, changed, state, exit, error, stdout }).toEqual({
        what,
        changed: true,
        state: 'unknown',
        exit: -1,
        error: 'unverified result',
        stdout: '',
      });
      const again = await library.run({ hosts: [`127.0.0.1:${port}`], script: 'count' });
      expect(again.isErr() && again.error.code).toBe('locked');
      alteration = honest;
      expect(value(await library.status(reqid)).results).toMatchObject([
        { state: 'succeeded', stdout: 'counted\n' },
      ]);
    }
    alteration = () => earlier;
    const said = await control.command('run', `127.0.0.1:${port}`, 'count');
    expect(said.code).toBe(1);
    expect(said.stdout).toContain('ERROR: unverified result');
    expect(said.stderr).toMatch(/ACTION=result-unverified .*PATH=\/run/);
    // Each was asked for once, whatever became of its answer.
    expect(fleet().counted('web-01')).toBe(before + 2 + Object.keys(alterations).length);
  });
});
