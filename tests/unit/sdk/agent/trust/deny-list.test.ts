import { errAsync } from 'neverthrow';
import { describe, expect, it } from 'vitest';
import { memoryKeyStore } from '../../../../../src/adapters/memory/key-store.js';
import { failure as errorOf } from '../../../../../src/domain/core/errors.js';
import type { KeyStore } from '../../../../../src/ports/key-store.js';
import { selfCheck } from '../../../../../src/sdk/agent/checks.js';
import { serve } from '../../../../../src/sdk/agent/serve.js';
import { failure, value } from '../../../../contract/result.js';
import {
  agentContext,
  dispatcherCredentials,
  servingAgent,
} from '../../../../support/fleet/memory-agents.js';

const file = '/etc/ctrl-exec-agent/revoked-serials';

/** Dispatchers that are trusted by their serials, the first of them is the one that asks by default. */
const [ours, stolen, lost] = ['abc123', '1fc4b1', 'dd01'];
const trust = `${ours} control\n${stolen} second\n${lost} third\n`;

/** A key store whose file of revoked serials may be unreadable, and which may be full. */
function moodyKeyStore() {
  const inner = memoryKeyStore();
  const mood = { unreadable: false, full: false };
  const failed = (operation: 'read' | 'write', reason: string) =>
    errAsync(errorOf('file_failed', `cannot ${operation} ${file}`, { path: file, operation, reason }));
  const keyStore: KeyStore = {
    ...inner,
    read: (items) =>
      mood.unreadable && items.some((item) => item === 'revoked-serials')
        ? failed('read', 'EACCES')
        : inner.read(items),
    replace: (change, options) => (mood.full ? failed('write', 'ENOSPC') : inner.replace(change, options)),
  };
  return { keyStore, inner, mood };
}

async function agentWith(revoked: string | undefined) {
  const { keyStore, inner, mood } = moodyKeyStore();
  const agent = await servingAgent({ trust, keyStore, ...(revoked !== undefined && { revoked }) });
  let { serving } = agent;
  const write = async (text: string | null) => value(await inner.replace({ 'revoked-serials': text }));
  const { listening } = agent;
  return {
    ...agent,
    mood,
    inner,
    write,
    /** The file as it becomes, and what a reload makes of it. */
    reloaded: async (text: string | null) => {
      await write(text);
      return serving.reload();
    },
    /** Serves anew; requests go to what listened first, which is to be asked no more. */
    restart: async () => {
      await serving.close(0);
      serving = value(await serve(agent.context));
      Object.assign(listening, { handle: agent.heard.options?.handle });
    },
    refused: async () => {
      const found: string[] = [];
      for (const serial of [ours, stolen, lost])
        if ((await agent.ask({ path: '/ping', serial })).status === 403) found.push(serial);
      return found;
    },
    problems: async () => (await agent.ask({ path: '/ping' })).json['problems'],
  };
}

const bad = '# stolen\nweb-01 is stolen\nDD 01\n';

describe('a file of revoked serials with a bad line', () => {
  it('refuses what is good of it at once, and what it held before; the reload fails with the line', async () => {
    const agent = await agentWith('1F C4 B1\n');
    expect(await agent.refused()).toEqual([stolen]);
    const error = failure(await agent.reloaded(bad));
    expect(error.code).toBe('config_invalid');
    expect(error.message).toContain(`${file}:2: `);
    expect(error.message).toContain('line 2: "web-01 is stolen"');
    expect(await agent.refused()).toEqual([stolen, lost]);
    expect(agent.events.events.at(-1)).not.toMatchObject({ action: 'reloaded' });
    expect(agent.events.events).toContainEqual({
      action: 'reload-failed',
      level: 'error',
      fields: { reason: error.message },
    });
  });

  it('changes nothing else: the rest of the reload does not take force', async () => {
    const agent = await agentWith('');
    const conf = '/etc/ctrl-exec-agent/scripts.conf';
    agent.files.files.set(conf, { bytes: Buffer.from(''), mode: 0o644 });
    failure(await agent.reloaded(bad));
    expect((await agent.ask({ path: '/capabilities', method: 'GET' })).json['scripts']).toHaveLength(1);
    value(await agent.reloaded(''));
    expect((await agent.ask({ path: '/capabilities', method: 'GET' })).json['scripts']).toEqual([]);
  });

  it('holds so also after a start, which says it', async () => {
    const agent = await agentWith(stolen);
    failure(await agent.reloaded(bad));
    failure(await agent.reloaded('web-01\n'));
    await agent.restart();
    expect(await agent.refused()).toEqual([stolen, lost]);
    expect(agent.events.events).toContainEqual({
      action: 'revoked-serials-damaged',
      level: 'error',
      fields: { reason: expect.stringContaining('line 1: "web-01"') },
    });
  });

  it('holds so where it was written while the agent did not serve', async () => {
    const agent = await agentWith(stolen);
    await agent.write(bad);
    await agent.restart();
    expect(await agent.refused()).toEqual([stolen, lost]);
  });

  it('holds so where a dispatcher changes something before anybody reloads', async () => {
    const agent = await agentWith(stolen);
    await agent.write(bad);
    const { certificate: pem } = await dispatcherCredentials('ee77');
    const added = await agent.ask({ path: '/rotate-serial', body: { serial: 'ee77', action: 'add', pem } });
    expect(added.json['status']).toBe('ok');
    expect(await agent.refused()).toEqual([stolen, lost]);
    await agent.write('web-01\n');
    await agent.restart();
    expect(await agent.refused()).toEqual([stolen, lost]);
  });

  it('is shown by /ping, without what stands in it, and by self-check', async () => {
    const agent = await agentWith('');
    expect(await agent.problems()).toBeUndefined();
    failure(await agent.reloaded(bad));
    expect(await agent.problems()).toEqual(['revoked_serials: line 2 is not understood']);
    expect(await selfCheck(agent.context)).toContainEqual({
      name: 'revoked serials',
      ok: false,
      detail: expect.stringContaining('line 2: "web-01 is stolen"'),
    });
    expect(agent.serving.warnings()[0]).toContain('line 2');
  });

  it('that is good again counts alone', async () => {
    const agent = await agentWith(stolen);
    failure(await agent.reloaded(bad));
    value(await agent.reloaded('DD 01\n'));
    expect(await agent.refused()).toEqual([lost]);
    expect(await agent.problems()).toBeUndefined();
    await agent.restart();
    expect(await agent.refused()).toEqual([lost]);
  });

  it('loses nothing where the disk is full, and says so', async () => {
    const agent = await agentWith(stolen);
    agent.mood.full = true;
    failure(await agent.reloaded(bad));
    failure(await agent.reloaded('web-01\n'));
    expect(await agent.refused()).toEqual([stolen, lost]);
    expect(agent.events.events).toContainEqual({
      action: 'warning',
      level: 'warning',
      fields: { reason: `cannot write ${file}` },
    });
    agent.mood.full = false;
    failure(await agent.reloaded('web-01\n'));
    await agent.restart();
    expect(await agent.refused()).toEqual([stolen, lost]);
  });
});

describe('a file of revoked serials', () => {
  it('that cannot be read: what it held goes on, the reload fails, and so it is after a start', async () => {
    const agent = await agentWith(stolen);
    agent.mood.unreadable = true;
    expect(failure(await agent.reloaded(stolen))).toMatchObject({ code: 'file_failed', reason: 'EACCES' });
    expect(await agent.refused()).toEqual([stolen]);
    expect(await agent.problems()).toEqual(['revoked_serials: the file cannot be read']);
    await agent.restart();
    expect(await agent.refused()).toEqual([stolen]);
    agent.mood.unreadable = false;
    value(await agent.reloaded(''));
    expect(await agent.refused()).toEqual([]);
  });

  it('that cannot be read, and never could: the agent does not start', async () => {
    const { keyStore, mood } = moodyKeyStore();
    mood.unreadable = true;
    const { context } = await agentContext({ keyStore, revoked: stolen });
    expect(failure(await serve(context))).toMatchObject({ code: 'file_failed', reason: 'EACCES' });
  });

  it.each([
    ['is removed', null],
    ['is emptied', ''],
  ])('that %s holds nothing any more, and a warning says what that means', async (_, text) => {
    const agent = await agentWith(`${stolen}\n${lost}\n`);
    value(await agent.reloaded(text));
    expect(await agent.refused()).toEqual([]);
    expect(agent.events.events).toContainEqual({
      action: 'warning',
      level: 'warning',
      fields: {
        reason: `${file}: holds no serial any more; 2 that it held are not refused any more`,
      },
    });
    value(await agent.reloaded(text));
    expect(agent.serving.warnings()).toEqual([]);
  });

  it('that is not there leaves nothing behind', async () => {
    const agent = await agentWith(undefined);
    expect(value(await agent.inner.read(['refused-serials']))['refused-serials']).toBeUndefined();
  });
});
