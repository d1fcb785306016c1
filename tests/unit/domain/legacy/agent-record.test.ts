import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { agentName } from '../../../../src/domain/core/names.js';
import { parseLegacyAgent } from '../../../../src/domain/legacy/agent-record.js';
import { failure, value } from '../../../contract/result.js';

const record = {
  hostname: 'Web-01',
  ip: '192.0.2.7',
  paired: '2026-11-21T20:49:06Z',
  expiry: 'Feb 23 20:49:06 2029 GMT',
  reqid: '3698ad2223d6b146',
  dispatcher_serial: '02',
  serial_status: 'current',
  serial_broadcast: '',
  serial_confirmed: '2026-11-21T20:49:06Z',
};
const parse = (fields: object, file = 'Web-01.json') =>
  parseLegacyAgent(file, JSON.stringify({ ...record, ...fields }));

describe('the record of an agent in an older registry', () => {
  it('of 0.8 has neither port nor tags', () => {
    expect(value(parse({}))).toEqual({
      name: 'web-01',
      endpoint: { host: 'Web-01', ip: '192.0.2.7', port: 7443, lookupBy: 'hostname' },
      tags: {},
      pairedAt: Date.UTC(2026, 10, 21, 20, 49, 6),
      trusts: '02',
      behind: undefined,
    });
  });

  it('of later versions says how the agent is reached, the port as a number or as text', () => {
    for (const port of [7555, '7555'])
      expect(value(parse({ lookup_by: 'ip', port, tags: { env: 'prod', tier: 2 } }))).toMatchObject({
        endpoint: { port: 7555, lookupBy: 'ip' },
        tags: { env: 'prod', tier: '2' },
      });
  });

  it.each(['pending', 'stale'])('%s: the agent trusts what it trusted before', (status) => {
    expect(value(parse({ serial_status: status, dispatcher_serial: '0b' }))).toMatchObject({
      trusts: '0b',
      behind: status,
    });
  });

  it('where it is not said whom the agent trusts, that is not known', () => {
    for (const dispatcher_serial of ['', 'none', 7])
      expect(value(parse({ dispatcher_serial })).trusts).toBeUndefined();
  });

  it('notes about a host that was never paired are no record', () => {
    const { hostname, expiry } = record;
    const read = parseLegacyAgent('10.0.0.1.json', JSON.stringify({ hostname, expiry }));
    expect(failure(read).kind).toBe('fragment');
  });

  it.each([
    [{ ip: 'nonsense' }, /"ip" is "nonsense", expected an address/],
    [{ ip: '' }, /"ip" is missing/],
    [{ port: 0 }, /"port"/],
    [{ port: 'x' }, /"port"/],
    [{ lookup_by: 'dns' }, /"lookup_by"/],
    [{ hostname: 'a b' }, /"hostname" is "a b"/],
  ])('%j cannot be used, and it is said why', (fields, why) => {
    expect(failure(parse(fields))).toMatchObject({
      kind: 'unusable',
      reason: expect.stringMatching(why),
    });
  });

  it('neither can what is no JSON, or has a name that no agent can have', () => {
    expect(failure(parseLegacyAgent('a.json', '{')).reason).toBe('not valid JSON');
    for (const file of ['-a.json', 'a b.json', `${'a'.repeat(65)}.json`, '..json'])
      expect(failure(parse({}, file)).reason).toMatch(/is not a host name|is empty/);
  });

  it('whatever a record holds, what is taken of it has a valid name, address and port, and no text that moves a cursor', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.dictionary(fc.constantFrom(...Object.keys(record), 'port', 'tags', 'lookup_by'), fc.jsonValue()),
        (stem, fields) => {
          parse(fields, `${stem}.json`).match(
            ({ name, endpoint, tags }) => {
              expect(value(agentName(name))).toBe(name);
              expect(endpoint.port).toBeGreaterThan(0);
              expect(endpoint.host + endpoint.ip).toMatch(/^[A-Za-z0-9._:%-]+$/);
              expect(Object.entries(tags).flat().join('')).not.toMatch(/\p{Cc}/u);
            },
            ({ reason }) => expect(reason).not.toMatch(/\n/),
          );
        },
      ),
    );
  });
});
