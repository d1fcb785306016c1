import { existsSync, readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { atEnd, start } from '../../support/commands/commands.js';
import { dispatcherCredentials, eventually, pairedHost, rawRequest } from '../../support/fleet/fleet.js';
import { openTcp } from '../../support/network/raw-tls.js';

const host = pairedHost();
const { fresh, running } = host;

describe('descriptors', () => {
  it.skipIf(!existsSync('/proc/self/fd'))(
    'without one left it accepts nobody, does not end, and answers as soon as there are some (needs /proc)',
    async () => {
      const agent = await fresh('rate_limit_disable = on\n');
      agent.script('hello', '#!/bin/sh\necho hello\n');
      const daemon = await agent.serve({ before: 'ulimit -n 64' });
      const open = () => readdirSync(`/proc/${daemon.child.pid}/fd`).length;
      // One at a time counts against the limit of one address; there are several here.
      const held = await Promise.all(Array.from({ length: 80 }, () => openTcp(agent.port)));
      atEnd(() => held.forEach((socket) => void socket.destroy()));
      await eventually(() => expect(open()).toBeGreaterThan(55));
      for (const socket of held) socket.destroy();
      await eventually(() => expect(open()).toBeLessThan(45));
      const who = dispatcherCredentials(host.control());
      expect((await rawRequest(agent.port, who, '/ping', '{}')).statusLine).toBe('HTTP/1.0 200 OK');
      expect(await running(agent, 'hello')).toMatchObject({ exit: 0, stdout: 'hello\n' });
      expect(daemon.output('stderr').split('\n').length).toBeLessThan(60);
      expect((await daemon.stop()).code).toBe(0);
    },
  );
});

describe('logs', () => {
  it.skipIf(!existsSync('/dev/full'))(
    'goes on when the disk of its log is full (needs /dev/full)',
    async () => {
      const agent = await fresh('event_log = json:/dev/full\n');
      agent.script('hello', '#!/bin/sh\necho hello\n');
      const daemon = await agent.serve();
      for (const _ of [1, 2, 3]) expect(await running(agent, 'hello')).toMatchObject({ exit: 0 });
      expect(daemon.output('stderr')).toMatch(/"action":"event-log-failed".*\/dev\/full: ENOSPC/);
      expect((await daemon.stop()).code).toBe(0);
    },
  );

  it.each(['>&-', '2>&-', '>&- 2>&-', '</dev/null >/dev/full 2>/dev/full'])(
    'goes on with its streams so: %s',
    async (streams) => {
      if (streams.includes('/dev/full') && !existsSync('/dev/full')) return;
      const agent = await fresh();
      agent.script('hello', '#!/bin/sh\necho hello\n');
      const daemon = start('ctrl-exec-agent', ['serve'], { home: agent.home, before: `exec ${streams}` });
      await eventually(async () => {
        const who = dispatcherCredentials(host.control());
        expect((await rawRequest(agent.port, who, '/ping', '{}')).statusLine).toBe('HTTP/1.0 200 OK');
      });
      for (const _ of [1, 2, 3])
        expect(await running(agent, 'hello')).toMatchObject({ exit: 0, stdout: 'hello\n' });
      expect(await daemon.stop()).toMatchObject({ signal: null });
    },
  );
});
