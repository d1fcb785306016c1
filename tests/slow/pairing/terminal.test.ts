import { describe, expect, it } from 'vitest';
import { agentOnDisk, requestArgs, shared } from '../../support/commands/commands.js';
import {
  keys,
  noTerminal,
  type OnTerminal,
  readable,
  startOnTerminal,
} from '../../support/commands/terminal.js';
import { capturedPairing, legacyAgent } from '../../support/legacy/peer.js';
import { deferred } from '../../support/network/network.js';
import {
  ask,
  dispatcherIdentity,
  dispatcherWith,
  expectNothingInstalled,
  identityOf,
} from '../../support/pairing/pairing.js';
import { openPeer, pairingPeer, postTo } from '../../support/pairing/peer.js';
import { impostor } from '../../support/pairing/server.js';

const skipped = noTerminal ? ` (skipped: ${noTerminal})` : '';
const identity = shared(dispatcherIdentity);

/** Pairing mode on a terminal. */
async function openDesk(...args: string[]) {
  const control = dispatcherWith(identity());
  const desk = startOnTerminal('ctrl-exec', ['pairing-mode', '--port', '0', ...args], { home: control.home });
  const port = Number(await desk.shows(/Pairing mode on .*:(\d+)/));
  await desk.shows(/pairing> /);
  return { control, desk, port, post: postTo(port) };
}

const enter = (desk: OnTerminal, line: string) => desk.type(`${line}${keys.enter}`);

/** What the terminal shows from now on; `shows` resolves when it matches. */
function from(desk: OnTerminal) {
  const start = desk.output().length;
  return {
    text: () => readable(desk.output().slice(start)),
    shows: (pattern: RegExp) =>
      desk.shows(new RegExp(`^[^]{${start}}[^]*?(?:${pattern.source})`, pattern.flags)),
  };
}

/** Enters a line and waits for what it brings about. */
async function tell(desk: OnTerminal, line: string, pattern: RegExp) {
  const since = from(desk);
  enter(desk, line);
  await since.shows(pattern);
  return since.text();
}

const short = (id: string) => id.slice(0, 8);

describe.skipIf(noTerminal)(`pairing mode on a terminal${skipped}`, () => {
  it('shows a request with host, address and code; `a` approves it, and the agent is paired', async () => {
    const { control, desk, port } = await openDesk();
    const agent = await ask('web-01', port);
    await desk.shows(/\[s\]kip/);
    expect(readable(desk.output())).toContain(`\nRequest ${agent.id} `);
    expect(readable(desk.output())).toContain(
      `\n  host     web-01\n  address  127.0.0.1\n  code     ${agent.id}-${agent.code}\n`,
    );
    await tell(desk, 'a', new RegExp(`Approved ${agent.id}`));
    agent.answer('y');
    await desk.shows(/Paired: web-01/);
    expect((await agent.ended).code).toBe(0);
    expect(await control.agents()).toMatchObject([{ name: 'web-01', keys: [{ state: 'active' }] }]);
  });

  it('marks a request of version 1, warns of its code, and says when its certificate has gone out', async () => {
    const { control, desk, port } = await openDesk('--allow-v1');
    const { next } = await legacyAgent(port, capturedPairing().bytes);
    await desk.shows(/\[s\]kip/);
    expect(readable(desk.output())).toMatch(
      /\n {2}host {5}vm\n {2}address {2}127\.0\.0\.1\n {2}code {5}393588\n {2}version {2}1\. .*forge/,
    );
    await tell(desk, 'list', /vm .* 393588 {2}version 1/);
    await tell(desk, 'a', /Approved [0-9a-f]{8}/);
    await desk.shows(/vm has its certificate/);
    await next();
    expect((await next()).body['status']).toBe('approved');
    expect(await control.agents()).toMatchObject([{ name: 'vm', keys: [{ state: 'issued' }] }]);
  });

  it('`d` denies the request that is shown, and shows the next one', async () => {
    const { control, desk, post, port } = await openDesk();
    const agent = await ask('web-01', port);
    const peer = await openPeer(post, 'web-02');
    await desk.shows(/of web-02 is waiting too/);
    const shown = await tell(desk, 'd', /\[s\]kip/);
    expect(shown).toContain(`Denied ${agent.id}`);
    expect(shown).toContain(`Request ${short(peer.id())}`);
    agent.answer('y');
    expect(await agent.ended).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('denied by the operator'),
    });
    expectNothingInstalled(agent.agent);
    expect(await control.agents()).toEqual([]);
  });

  it('a request that arrives while another is shown does not become what `a` approves', async () => {
    const { desk, post } = await openDesk();
    const first = await openPeer(post, 'web-01');
    await desk.shows(/\[s\]kip/);
    const second = await openPeer(post, 'web-02');
    await desk.shows(/of web-02 is waiting too/);
    await tell(desk, 'a', new RegExp(`Approved ${short(first.id())}`));
    expect((await first.confirm()).status).toBe(200);
    expect((await second.confirm()).status).toBe(202);
  });

  it('`a` typed twice does not approve the next request, whose code nobody has seen', async () => {
    const { desk, post } = await openDesk();
    const first = await openPeer(post, 'web-01');
    await desk.shows(/\[s\]kip/);
    const second = await openPeer(post, 'web-02');
    await desk.shows(/of web-02 is waiting too/);
    const since = from(desk);
    desk.type(`a${keys.enter}a${keys.enter}list${keys.enter}`);
    await since.shows(/\d {2}[0-9a-f]{8} {2}web-02|no request is waiting/);
    expect((await first.confirm()).status).toBe(200);
    expect((await second.confirm()).status).toBe(202);
  });

  it('`a1` and `d2` decide by the number of the list', async () => {
    const { desk, post } = await openDesk();
    const first = await openPeer(post, 'web-01');
    await desk.shows(/\[s\]kip/);
    const second = await openPeer(post, 'web-02');
    await desk.shows(/of web-02 is waiting too/);
    const listed = await tell(desk, 'list', /2 {2}[0-9a-f]{8} {2}web-02 [^\n]*\n/);
    expect(listed).toContain(
      `1  ${short(first.id())}  web-01  127.0.0.1  ${short(first.id())}-${first.code()}\n`,
    );
    expect(listed).toContain(
      `2  ${short(second.id())}  web-02  127.0.0.1  ${short(second.id())}-${second.code()}\n`,
    );
    await tell(desk, 'd2', new RegExp(`Denied ${short(second.id())}`));
    await tell(desk, 'a1', new RegExp(`Approved ${short(first.id())}`));
    expect((await first.confirm()).status).toBe(200);
    expect((await second.confirm()).status).toBe(403);
  });

  it('a number keeps meaning the request that it was shown with', async () => {
    const { control, desk, post } = await openDesk();
    const first = await openPeer(post, 'web-01');
    await desk.shows(/\[s\]kip/);
    const second = await openPeer(post, 'web-02');
    await desk.shows(/of web-02 is waiting too/);
    await tell(desk, 'list', /2 {2}[0-9a-f]{8} {2}web-02/);
    // Another terminal is faster: what was 2 must not become 1 under the operator's fingers.
    expect((await control.command('deny', first.id())).code).toBe(0);
    const since = from(desk);
    expect((await first.confirm()).status).toBe(403);
    await since.shows(/pairing> /);
    await tell(desk, 'a1', /Approved|no such request/);
    expect((await second.confirm()).status).toBe(202);
  });

  it('`s` shows the next request and keeps the skipped one', async () => {
    const { desk, post } = await openDesk();
    const first = await openPeer(post, 'web-01');
    await desk.shows(/\[s\]kip/);
    const second = await openPeer(post, 'web-02');
    await desk.shows(/of web-02 is waiting too/);
    expect(await tell(desk, 's', /\[s\]kip/)).toContain(`Request ${short(second.id())}`);
    expect(await tell(desk, 's', /\[s\]kip/)).toContain(`Request ${short(first.id())}`);
    await tell(desk, 'a', new RegExp(`Approved ${short(first.id())}`));
    expect((await second.confirm()).status).toBe(202);
  });

  it('what is not a command changes nothing and says what is possible', async () => {
    const { desk, post } = await openDesk();
    expect(await tell(desk, 'a', /no such request/)).not.toContain('Approved');
    expect(await tell(desk, 's', /no request is shown/)).not.toContain('Request');
    expect(await tell(desk, 'list', /no request is waiting/)).toBeTruthy();
    const peer = await openPeer(post, 'web-01');
    await desk.shows(/\[s\]kip/);
    for (const rubbish of ['approve', 'A', 'a 1', 'yes', 'aa', '$(id)', 'x'.repeat(3_000), 'ä', 'd;a'])
      await tell(desk, rubbish, /a approve, d deny, s skip, a1\/d2 by number, list, quit\r?\n/);
    for (const number of ['a0', 'a2', 'd99999999999999999999']) await tell(desk, number, /no such request/);
    enter(desk, '');
    expect((await peer.confirm()).status).toBe(202);
    await tell(desk, ' a ', new RegExp(`Approved ${short(peer.id())}`));
    expect((await peer.confirm()).status).toBe(200);
  });

  it.each([
    ['quit', `quit${keys.enter}`],
    ['Ctrl-C', keys.ctrlC],
    ['Ctrl-D', keys.ctrlD],
  ])(
    '%s ends pairing mode: the port is closed and what waits expires',
    { timeout: 10_000 },
    async (_, typed) => {
      const { control, desk, post } = await openDesk();
      await openPeer(post, 'web-01');
      await desk.shows(/\[s\]kip/);
      desk.type(typed);
      const ended = await desk.ended;
      expect(ended.code).toBe(0);
      expect(ended.stdout).toContain('Pairing mode closed');
      await expect((await pairingPeer(post, 'web-02')).start()).rejects.toMatchObject({
        code: 'ECONNREFUSED',
      });
      expect(await control.requests()).toEqual([]);
    },
  );

  it('--timeout ends it, too', async () => {
    const { desk } = await openDesk('--timeout', '1');
    expect(await desk.ended).toMatchObject({ code: 0, stdout: expect.stringContaining('for 1 s') });
  });

  it('a name that is registered is not approved here, and stays to be decided', async () => {
    const { control, desk, post } = await openDesk();
    const first = await openPeer(post, 'web-01');
    await desk.shows(/\[s\]kip/);
    await tell(desk, 'a', /Approved/);
    expect((await first.confirm()).status).toBe(200);
    expect((await first.installed()).status).toBe(200);
    await desk.shows(/Paired: web-01/);
    const again = await openPeer(post, 'WEB-01');
    await desk.shows(new RegExp(`Request ${short(again.id())}`));
    await tell(desk, 'a', /web-01 is registered already: .* \(approve ID --replace\)/);
    expect((await again.confirm()).status).toBe(202);
    expect((await control.command('approve', again.id(), '--replace')).code).toBe(0);
  });

  it('nothing that a peer calls itself reaches the terminal unless it is a host name', async () => {
    const { desk, post } = await openDesk();
    const names = [
      '\u001b]0;owned\u0007',
      'web\u001b[2J',
      'web-01\nRequest 00000000',
      'web\u009b31m',
      'web\u202e10',
      'web\u0000',
      '../web',
      'web 01',
      '-web',
      '',
      'w'.repeat(65),
      'w'.repeat(10_000),
    ];
    const peer = await pairingPeer(post, 'web-01');
    for (const host of names) {
      const refused = await peer.start({ host });
      expect(refused, JSON.stringify(host.slice(0, 40))).toMatchObject({
        status: 400,
        body: { status: 'error', error: 'invalid' },
      });
    }
    await peer.start();
    await peer.nonce();
    await desk.shows(/\[s\]kip/);
    const shown = desk.output();
    for (const trace of ['owned', '\u001b[2J', '00000000', '\u009b', '\u202e', '\u0000', '../', 'wwww'])
      expect(shown).not.toContain(trace);
  });
});

describe.skipIf(noTerminal)(`request-pairing on a terminal${skipped}`, () => {
  const question = /Does the dispatcher show the same request and code\? \[y\/N\] /;

  async function askOnTerminal(port: number) {
    const agent = await agentOnDisk('web-01');
    const asking = startOnTerminal('ctrl-exec-agent', requestArgs(port, '--name', 'web-01'), {
      home: agent.home,
    });
    await asking.shows(question);
    return { agent, asking };
  }

  /** Asked by a dispatcher that approves at once. */
  async function askedByWilling() {
    const { port, steps } = await (await impostor({ dispatcherId: 'control' })).server();
    return { ...(await askOnTerminal(port)), steps };
  }

  it('shows the request, the dispatcher and the code that is shown there; `y` pairs', async () => {
    const control = dispatcherWith(identity());
    const { agent, asking } = await askOnTerminal((await control.open()).port);
    const id = await asking.shows(/Request ([0-9a-f]{8}) to dispatcher control/);
    const [request] = await control.requests();
    expect(await asking.shows(/Pairing code: [0-9a-f]{8}-(\d{6})/)).toBe(request?.code);
    expect((await control.command('approve', id)).code).toBe(0);
    enter(asking, 'y');
    const ended = await asking.ended;
    expect(ended.code).toBe(0);
    expect(readable(ended.stdout)).toContain('Paired with control as web-01\n');
    expect(identityOf(agent)).not.toContain(undefined);
    expect(await control.agents()).toMatchObject([{ name: 'web-01', keys: [{ state: 'active' }] }]);
  });

  it.each(['yes', 'Y', ' y '])('`%s` pairs', async (word) => {
    const { agent, asking } = await askedByWilling();
    enter(asking, word);
    expect((await asking.ended).code).toBe(0);
    expect(identityOf(agent)).not.toContain(undefined);
  });

  it.each([
    // A no destroys the session with a second nonce.
    ['Enter', keys.enter, ['nonce']],
    ['n', `n${keys.enter}`, ['nonce']],
    ['something else', `yesno${keys.enter}`, ['nonce']],
    ['the end of input', keys.ctrlD, ['nonce']],
    ['Ctrl-C', keys.ctrlC, []],
    ['Ctrl-C behind a y', `y${keys.ctrlC}`, []],
  ])('%s does not: nothing is confirmed or installed', async (_, typed, said) => {
    const { agent, asking, steps } = await askedByWilling();
    asking.type(typed);
    const ended = await asking.ended;
    expect(ended.code).toBe(1);
    expect(ended.stdout).not.toContain('Paired with');
    expect(steps).toEqual(['start', 'nonce', ...said]);
    expectNothingInstalled(agent);
  });

  it('Ctrl-C while the operator has not decided ends it, and nothing is installed', async () => {
    const polled = deferred();
    const fake = await impostor({
      dispatcherId: 'control',
      onConfirm: () => {
        polled.resolve();
        return { status: 202, body: { status: 'pending', retry_after: 60 } };
      },
    });
    const { agent, asking } = await askOnTerminal((await fake.server()).port);
    enter(asking, 'y');
    await polled.promise;
    asking.type(keys.ctrlC);
    expect((await asking.ended).code).toBe(1);
    expectNothingInstalled(agent);
  });
});
