import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { failure, value } from '../../contract/result.js';
import { shared } from '../../support/commands/commands.js';
import { identityOf, ran, servingFleet } from '../../support/fleet/lifecycle-fleet.js';

const fleet = shared(() => servingFleet(['web-01', 'db-01']));

const listOf = (name: string) => join(fleet().agent(name).home, 'state/crl.pem');

describe('an agent that is revoked', () => {
  it('is refused at once, also on connections that are kept, and everybody is told', async () => {
    const { control, library } = fleet();
    const name = 'lost-01';
    await fleet().add(name);
    await fleet().up(name);
    const { serial } = identityOf(fleet().agent(name));
    expect(await ran(library, name, 'count')).toMatchObject({ exit: 0 });
    expect(await ran(library, 'web-01', 'hello')).toMatchObject({ exit: 0 });

    const revoked = await control.command('revoke', name);
    expect(revoked).toMatchObject({ code: 0, stderr: '' });
    expect(revoked.stdout).toMatch(
      new RegExp(`^Revoked of ${name}: ${serial} \\(list \\d+, 2 agents told\\)\n$`),
    );

    const why = new RegExp(
      `^the certificate of ${name} \\(serial ${serial}\\) was revoked; nothing was sent$`,
    );
    const { exit, error } = await ran(library, name, 'count');
    expect(exit).toBe(-1);
    expect(error).toMatch(why);
    const run = await control.command('run', name, 'count');
    expect(run.code).toBe(1);
    expect(run.stdout).toMatch(/ERROR: .* was revoked; nothing was sent/);
    // By its address, too.
    const bare = await ran(library, `127.0.0.1:${fleet().agent(name).port}`, 'count');
    expect(bare.error).toMatch(why);
    expect(failure(await library.readmit(name)).code).toBe('revoked');
    expect(fleet().counted(name)).toBe(1);
    expect(await ran(library, 'web-01', 'hello')).toMatchObject({ exit: 0 });
    for (const each of ['web-01', 'db-01'])
      expect(readFileSync(listOf(each), 'utf8')).toMatch(/BEGIN X509 CRL/);
    // With it nobody speaks any more: it keeps nothing from going on.
    expect(await control.command('maintain')).toMatchObject({ code: 0 });
  });

  it('has a banned key, which unban lists and lifts', async () => {
    const { control } = fleet();
    const name = 'lost-02';
    await fleet().add(name);
    const { keys } = value(await fleet().library.revoke(name));
    const banned = await control.command('unban');
    const key = keys[0] ?? '';
    expect(banned.stdout).toMatch(new RegExp(`^${key} +${name} +\\d{4}-`, 'm'));
    expect(JSON.parse((await control.command('unban', '--json')).stdout)).toMatchObject({
      keys: expect.arrayContaining([expect.objectContaining({ key, name })]),
    });
    expect(await control.command('unban', key)).toMatchObject({ code: 0 });
    expect((await control.command('unban')).stdout).not.toContain(key);
    expect(await control.command('unban', key)).toMatchObject({ code: 64 });
  });
});
