import { expect, it } from 'vitest';
import { memoryFileSystem } from '../../../../src/adapters/memory/file-system.js';
import { systemRandom } from '../../../../src/adapters/node-crypto/random.js';
import { parseConfiguration } from '../../../../src/domain/core/configuration.js';
import { agentSettings } from '../../../../src/domain/settings/agent.js';
import { notedPort, notePort, registeredPort } from '../../../../src/sdk/agent/served-port.js';
import { value } from '../../../contract/result.js';

const file = '/agent/agent.conf';
const base = { home: '/agent', stateDir: '/agent/state', file, fileTrust: 'strict' } as const;
const settings = (conf: string) =>
  value(parseConfiguration(conf, file).andThen((parsed) => agentSettings(parsed, base))).settings;

const agent = () => ({ files: memoryFileSystem({ [file]: '' }), random: systemRandom() });

it.each<[string, number | undefined, number]>([
  ['', undefined, 7443],
  ['port = 9000', undefined, 9000],
  ['', 9001, 9001],
  ['port = 0', 9002, 9002],
])('with %j and %s a pairing registers %i, and serve on any port takes it', async (conf, asked, expected) => {
  const context = agent();
  expect(value(await registeredPort(context, settings(conf), asked))).toBe(expected);
  expect(value(await notedPort(context, settings(conf)))).toBe(expected);
});

it.each<[string, number | undefined]>([
  ['port = 0', undefined],
  ['port = 0', 0],
  ['', 0],
])('with %j and %s a pairing chooses a port, and stays with it', async (conf, asked) => {
  const context = agent();
  const chosen = value(await registeredPort(context, settings(conf), asked));
  expect(chosen).toBeGreaterThanOrEqual(49_152);
  expect(chosen).toBeLessThanOrEqual(65_535);
  expect(value(await registeredPort(context, settings(conf), asked))).toBe(chosen);
  expect(value(await notedPort(context, settings(conf)))).toBe(chosen);
});

it('a pairing registers the port that was served on last, unless the configured one has changed since', async () => {
  const context = agent();
  value(await notePort(context, settings('port = 9000'), 9005));
  expect(value(await registeredPort(context, settings('port = 9000'), undefined))).toBe(9005);
  expect(value(await registeredPort(context, settings('port = 9100'), undefined))).toBe(9100);
});

it.each(['', '{}', '{"port":0,"configured":7443}', '{"port":7000}', 'x'])(
  'a note that cannot be used, %j, is as none',
  async (note) => {
    const context = { ...agent(), files: memoryFileSystem({ '/agent/state/port.json': note }) };
    expect(value(await notedPort(context, settings('')))).toBeUndefined();
  },
);
