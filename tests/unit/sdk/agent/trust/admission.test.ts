import { describe, expect, it } from 'vitest';
import { knownFor } from '../../../../../src/domain/protocol/known-sources.js';
import type { ListenOptions } from '../../../../../src/ports/listener.js';
import { value } from '../../../../contract/result.js';
import { eventsOf } from '../../../../support/fleet/events.js';
import {
  type AgentOptions,
  dispatcherCredentials,
  servingAgent,
} from '../../../../support/fleet/memory-agents.js';
import { crypto } from '../../../../support/fleet/memory-fleet.js';
import { testCa } from '../../../../support/network/test-pki.js';

const stateFile = '/var/lib/ctrl-exec-agent/known-sources';
const [here, there] = ['192.0.2.7', '192.0.2.8'];

/** An agent as its listener sees it. */
async function agent(options: AgentOptions = {}) {
  const parts = await servingAgent(options);
  const listening = parts.listening as ListenOptions &
    Required<Pick<ListenOptions, 'admit' | 'knows' | 'refused'>>;
  const presented = value(crypto.readCertificate(parts.own.certificate));
  const shows = async (address: string, serial: string) => {
    const { certificate } = await dispatcherCredentials(serial);
    const peer = { address, presented, tlsVersion: 'TLSv1.3' };
    return listening.knows({ ...peer, certificate: value(crypto.readCertificate(certificate)) });
  };
  const fails = (address: string, count: number, reason = 'CLOSED_IN_HANDSHAKE') => {
    for (let times = 0; times < count; times += 1) listening.refused(address, reason);
  };
  return {
    ...parts,
    ...listening,
    accept: listening.admit,
    presented,
    shows,
    fails,
    dispatcher: (address = here) => shows(address, 'abc123'),
  };
}

describe('a source of failed handshakes', () => {
  it('is blocked for an hour after more than three within ten minutes, and others are not', async () => {
    const { accept, fails, clock } = await agent();
    fails(here, 3);
    expect(accept(here)).toBe(true);
    fails(here, 1);
    expect([accept(here), accept(there)]).toEqual([false, true]);
    await clock.advance(3_599_999);
    expect(accept(here)).toBe(false);
    await clock.advance(1);
    expect(accept(here)).toBe(true);
  });

  it('may fail thrice every ten minutes', async () => {
    const { accept, fails, clock } = await agent();
    for (let round = 0; round < 5; round += 1) {
      fails(here, 3);
      await clock.advance(600_000);
    }
    expect(accept(here)).toBe(true);
  });

  it('is told once when the block begins and once when it has ended, with how many it met', async () => {
    const { accept, fails, clock, events } = await agent();
    fails(here, 4);
    for (let count = 0; count < 50; count += 1) accept(here);
    const fields = { source: here, limit: 'probe', effect: 'blocked', seconds: 3600, more: undefined };
    expect(eventsOf(events, 'source-limited').map((event) => event.fields)).toEqual([fields]);
    await clock.advance(3_602_000);
    const ended = eventsOf(events, 'source-released').map((event) => event.fields);
    expect(ended).toEqual([{ source: here, limit: 'probe', met: 50, more: undefined }]);
    expect(eventsOf(events, 'connection-refused')).toHaveLength(1);
  });

  it.each([
    ['the same /64', '2001:db8::2', false],
    ['another /64', '2001:db8:0:1::1', true],
  ])('of IPv6 takes %s with it: %s', async (_what, other, accepted) => {
    const { accept, fails } = await agent();
    fails('2001:db8::1', 4);
    expect([accept('2001:db8::1'), accept(other)]).toEqual([false, accepted]);
  });

  it.each(['TOO_MANY_HANDSHAKES', 'TOO_MANY_CONNECTIONS', 'GAVE_WAY', 'CLOSING'])(
    'is not who met %s',
    async (reason) => {
      const { accept, fails } = await agent();
      fails(here, 100, reason);
      expect(accept(here)).toBe(true);
    },
  );

  it('is not the agent itself that pings itself', async () => {
    const { accept, refused, presented } = await agent();
    for (let count = 0; count < 100; count += 1) refused('127.0.0.1', 'INVALID_PURPOSE', presented);
    expect(accept('127.0.0.1')).toBe(true);
    const other = await (await testCa()).issue({ usages: ['serverAuth'] });
    const certificate = value(crypto.readCertificate(other.certificate));
    for (let count = 0; count < 4; count += 1) refused('127.0.0.1', 'INVALID_PURPOSE', certificate);
    expect(accept('127.0.0.1')).toBe(false);
  });
});

describe('the volume', () => {
  it.each(['CLOSED_AT_ONCE', 'TOO_MANY_OF_THIS_ADDRESS'])('counts %s, ten a minute', async (reason) => {
    const { accept, fails, clock } = await agent();
    fails(here, 10, reason);
    expect(accept(here)).toBe(true);
    fails(here, 1, reason);
    expect(accept(here)).toBe(false);
    await clock.advance(300_000);
    expect(accept(here)).toBe(true);
  });

  it('counts certificates that are not trusted, and does not know them', async () => {
    const { accept, shows } = await agent();
    for (let count = 0; count < 11; count += 1) expect(await shows(here, 'bad1')).toBe(false);
    expect(accept(here)).toBe(false);
  });

  it('does not count dispatchers', async () => {
    const { accept, dispatcher } = await agent();
    for (let count = 0; count < 1_000; count += 1) expect(await dispatcher()).toBe(true);
    expect(accept(here)).toEqual({ delay: 0 });
  });
});

it('a certificate that is revoked counts as a failed handshake', async () => {
  const { accept, shows } = await agent({ revoked: 'abc123\n' });
  for (let count = 0; count < 4; count += 1) expect(await shows(here, 'abc123')).toBe(false);
  expect(accept(here)).toBe(false);
});

describe('where a trusted dispatcher has come from', () => {
  it('nobody is blocked for a day, but slowed', async () => {
    const { accept, fails, dispatcher, clock, events } = await agent({
      configuration: 'rate_limit_probe = 3/600/1000000\n',
    });
    await dispatcher();
    fails(here, 500);
    expect(accept(here)).toEqual({ delay: 100 });
    expect(eventsOf(events, 'source-limited').map(({ fields }) => fields.effect)).toEqual(['slowed']);
    await clock.advance(knownFor - 1);
    expect(accept(here)).toEqual({ delay: 100 });
    await clock.advance(1);
    expect(accept(here)).toBe(false);
  });

  it('is known after a restart', async () => {
    const first = await agent();
    await first.dispatcher();
    await first.serving.close(0);
    const written = new TextDecoder().decode(first.files.files.get(stateFile)?.bytes);
    expect(written).toMatch(/^192\.0\.2\.7 \d+\n$/);
    const second = await agent({ files: { [stateFile]: written } });
    second.fails(here, 500);
    second.fails(there, 500);
    expect([second.accept(here), second.accept(there)]).toEqual([{ delay: 100 }, false]);
  });

  it('is known until then also where it cannot be written, which is said', async () => {
    const { files, dispatcher, fails, accept, serving, events } = await agent();
    files.files.set('/var/lib/ctrl-exec-agent', { bytes: new Uint8Array(), mode: 0o644 });
    await dispatcher();
    fails(here, 500);
    expect(accept(here)).toEqual({ delay: 100 });
    await serving.close(0);
    expect(eventsOf(events, 'warning').map(({ fields }) => fields.reason)).toContainEqual(
      expect.stringContaining('it is not known where dispatchers come from'),
    );
  });

  it('is not where an untrusted or a revoked one has', async () => {
    const { accept, fails, shows } = await agent({ revoked: 'abc123\n' });
    await shows(here, 'abc123');
    await shows(here, 'bad1');
    fails(here, 4);
    expect(accept(here)).toBe(false);
  });
});

it('rate_limit_disable lets everybody in, also who is blocked, from the reload on', async () => {
  const { accept, fails, files, serving } = await agent();
  fails(here, 4);
  expect(accept(here)).toBe(false);
  const text = new TextEncoder().encode('rate_limit_disable = yes\n');
  files.files.set('/etc/ctrl-exec-agent/agent.conf', { bytes: text, mode: 0o644 });
  value(await serving.reload());
  expect(accept(here)).toBe(true);
  fails(there, 1_000);
  expect(accept(there)).toBe(true);
});

it('the limits are those of the configuration', async () => {
  const { accept, fails } = await agent({ configuration: 'rate_limit_probe = 1/10/20\n' });
  fails(here, 2);
  expect(accept(here)).toBe(false);
});

it('a flood of sources is told in 30 lines a minute', async () => {
  const { fails, clock, events } = await agent();
  for (let count = 0; count < 500; count += 1) fails(`198.51.${100 + (count >> 8)}.${count & 255}`, 4);
  expect(eventsOf(events, 'source-limited')).toHaveLength(30);
  await clock.advance(60_000);
  fails(there, 4);
  expect(eventsOf(events, 'source-limited').at(-1)?.fields).toMatchObject({ source: there, more: 470 });
  await clock.advance(3_700_000);
  expect(eventsOf(events, 'source-released').length).toBeLessThanOrEqual(60);
});
