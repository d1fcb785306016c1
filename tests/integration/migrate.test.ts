import { X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { shared, temporaryDirectory } from '../support/commands/commands.js';
import { treeDigest } from '../support/commands/tree.js';
import { agentsOf, control, controlHosts, versions } from '../support/legacy/control-hosts.js';

const homeIn = (root: string) => join(root, 'home');

const hosts = shared(controlHosts);

describe.each(versions)('a control host of %s', (version) => {
  it('is taken over, its agents without being paired again, and nothing of it is changed', async () => {
    const root = temporaryDirectory();
    const host = hosts()[version];
    const before = treeDigest(join(host.directory, '../..'));
    const home = homeIn(root);
    const imported = await control(home, 'import-state', host.directory);
    expect(imported).toMatchObject({ code: 0, stderr: '' });
    expect(treeDigest(join(host.directory, '../..'))).toEqual(before);

    expect(readFileSync(join(home, 'ca.key'), 'utf8')).toBe(host.ca.key);
    expect(readFileSync(join(home, 'ctrl-exec.key'), 'utf8')).toBe(host.dispatcher.key);
    expect(new X509Certificate(readFileSync(join(home, 'ctrl-exec.crt'))).raw).toEqual(
      new X509Certificate(host.dispatcher.certificate).raw,
    );
    for (const key of ['ca.key', 'ctrl-exec.key', 'pairing.key'])
      expect(statSync(join(home, key)).mode & 0o777).toBe(0o600);
    const configuration = readFileSync(join(home, 'ctrl-exec.conf'), 'utf8');
    expect(configuration).toMatch(/^read_timeout = 90$/m);
    expect(configuration).toMatch(/^# cert = /m);
    expect(configuration).toMatch(
      version === '0.8' ? /^dispatcher_id = \S+$/m : /^dispatcher_id = control\.example\.com$/m,
    );
    expect(await agentsOf(home)).toMatchObject([
      { name: 'db-02', ip: '192.0.2.7', port: version === '0.8' ? 7443 : 7555, keys: [] },
      { name: 'web-01.example.com', hostname: 'Web-01.example.com', ip: '127.0.0.1', port: 7443, keys: [] },
    ]);
    const status = await control(home, 'serial-status');
    expect(status.stdout).toMatch(/^web-01\.example\.com +current +- +2$/m);
  });
});
