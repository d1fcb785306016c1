import { expect, it } from 'vitest';
import { dispatcherOnDisk } from '../support/commands/commands.js';
import { leaveNothingBehind } from '../support/kill/sweep.js';
import { testTogether } from '../support/together/suite.js';

leaveNothingBehind();

testTogether(Number(process.env['TOGETHER_SECONDS'] ?? 60));

it('two people who change different things of one agent at once both get what they asked for', async () => {
  const control = await dispatcherOnDisk();
  await control.pairAgent('shared');
  for (let round = 1; round <= 20; round += 1) {
    const [port, ip] = [2000 + round, `192.0.2.${round}`];
    await Promise.all([
      control.command('edit-agent', 'shared', '--agent-port', String(port)),
      control.command('edit-agent', 'shared', '--ip', ip),
    ]);
    const { stdout } = await control.command('list-agents', '--json');
    expect(JSON.parse(stdout).agents, `round ${round}`).toMatchObject([{ port, ip }]);
  }
});
