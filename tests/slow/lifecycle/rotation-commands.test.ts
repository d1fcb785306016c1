import { describe, expect, it } from 'vitest';
import { shared } from '../../support/commands/commands.js';
import { day, serialIn, serialStatus, servingFleet, standings } from '../../support/fleet/lifecycle-fleet.js';

const fleet = shared(() => servingFleet(['web-01', 'web-02', 'db-01'], 'cert_overlap_days = 1\n'));

describe('rotate-cert', () => {
  it('serial-status says what is in use, what was, until when, and how each agent stands', async () => {
    const { control } = fleet();
    const inUse = () => serialIn(control.home, 'ctrl-exec.crt');
    const before = await serialStatus(control);
    expect(before).toMatchObject({ ok: 1, current: inUse(), next: null });
    const { previous } = before;
    const at = Date.now();
    const rotated = await control.command('rotate-cert', '--json');
    expect(JSON.parse(rotated.stdout)).toMatchObject({ state: 'switched', old: before.current });

    const after = await serialStatus(control);
    expect(after).toMatchObject({ ok: 1, current: inUse(), next: null, previous: before.current });
    expect(after.previous).not.toBe(previous);
    expect(Date.parse(after.overlap_ends ?? '')).toBeGreaterThanOrEqual(at + day);
    expect(Date.parse(after.overlap_ends ?? '')).toBeLessThanOrEqual(Date.now() + day);
    expect(Date.parse(after.expiry)).toBeGreaterThan(Date.now() + 364 * day);
    expect(standings(after)).toEqual({ 'db-01': 'current', 'web-01': 'current', 'web-02': 'current' });
    for (const { serials, last_contact: contact } of after.agents) {
      expect(serials).toContain(after.current);
      expect(Date.now() - Date.parse(contact ?? '')).toBeLessThan(3_600_000);
    }
    const text = await control.command('serial-status');
    expect(text).toMatchObject({ code: 0, stderr: '' });
    expect(text.stdout).toMatch(
      new RegExp(`^current +${after.current}, valid until \\d{4}-\\d\\d-\\d\\d`, 'm'),
    );
    expect(text.stdout).toMatch(new RegExp(`^previous +${before.current}, until \\d{4}-`, 'm'));
    expect(text.stdout).toMatch(/^web-01 +current +\d{4}-\d\d-\d\d.* [0-9a-f]{32}/m);
    expect(text.stdout).not.toMatch(/^next/m);
  });

  it('--compromised uses the new certificate at once, revokes the others, and exits 1 while an agent is left', async () => {
    const { control } = fleet();
    const before = await serialStatus(control);
    await fleet().down('db-01');
    const rotated = await control.command('rotate-cert', '--compromised');
    expect(rotated.code).toBe(1);
    expect(rotated.stdout).toContain(before.current);
    expect(rotated.stdout).toMatch(/ is in use, and revoked are: .* \(list \d+, 2 agents told\)\n/);
    expect(rotated.stdout).toMatch(/^ {2}pending db-01: /m);
    const status = await control.command('serial-status');
    expect(status.stderr).toMatch(/^warning: db-01: revocations pending since \d{4}-\d\d-\d\d \d\d:\d\dZ: /m);
    const after = await serialStatus(control);
    expect(after).toMatchObject({ current: serialIn(control.home, 'ctrl-exec.crt'), previous: null });
    await fleet().up('db-01');
    const run = await control.command('run', 'db-01', 'hello');
    expect(run).toMatchObject({ code: 0, stderr: '' });
    expect((await control.command('serial-status')).stderr).toBe('');
  });
});
