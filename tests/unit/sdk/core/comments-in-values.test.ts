import { expect, it } from 'vitest';
import { agentReading, takeConfiguration } from '../../../../src/domain/legacy/configuration.js';
import { commentsInValues } from '../../../../src/sdk/core/migrate/configuration.js';

it('an import names every value that held a comment for older versions', () => {
  const path = '/old/agent.conf';
  const text = '# a = 1\nport = 7443 # x\nhook = /a#b\n[tags]\nenv = prod  # production\n';
  const taken = takeConfiguration(text, path, agentReading, new Set());
  expect(commentsInValues({ path, taken })).toEqual(
    [
      [2, '# x'],
      [5, '# production'],
    ].map(
      ([line, comment]) =>
        `/old/agent.conf:${line}: "${comment}" is a comment now, and part of the value for older versions`,
    ),
  );
});
