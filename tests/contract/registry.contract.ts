import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { AgentEndpoint, AgentRecord, KeyPin } from '../../src/domain/agent-record.js';
import type { Enrolment, Registry } from '../../src/ports/registry.js';

const key = (digit: string): string => digit.repeat(64);

const endpoint = (host: string): AgentEndpoint => ({
  host,
  ip: '192.0.2.7',
  port: 7443,
  lookupBy: 'hostname',
});

const pin = (spkiSha256: string, change: Partial<KeyPin> = {}): KeyPin => ({
  spkiSha256,
  state: 'issued',
  serial: '1f',
  notAfter: 2_000_000_000_000,
  issuedAt: 1_700_000_000_000,
  ...change,
});

const enrolment = (name: string, spkiSha256: string, change: Partial<Enrolment> = {}): Enrolment => ({
  name,
  endpoint: endpoint(`${name}.example.org`),
  pin: pin(spkiSha256),
  pairing: 'v2',
  replace: false,
  at: 1_700_000_000_000,
  ...change,
});

/** `open` gives an empty registry. */
export function registryContract(adapter: string, open: () => Registry | Promise<Registry>): void {
  describe(`registry: ${adapter}`, () => {
    /** With `web-01` active under key a. */
    const withAgent = async (change: Partial<Enrolment> = {}): Promise<Registry> => {
      const registry = await open();
      (await registry.enrol(enrolment('web-01', key('a'), change)))._unsafeUnwrap();
      (await registry.activate('web-01', key('a')))._unsafeUnwrap();
      return registry;
    };
    const find = async (registry: Registry, name = 'web-01'): Promise<AgentRecord | undefined> =>
      (await registry.find(name))._unsafeUnwrap();

    it('an empty registry knows nobody', async () => {
      const registry = await open();
      expect((await registry.list())._unsafeUnwrap()).toEqual([]);
      expect(await find(registry)).toBeUndefined();
      expect((await registry.findByKey(key('a')))._unsafeUnwrap()).toBeUndefined();
    });

    it('an enrolment is a record with one issued pin', async () => {
      const registry = await open();
      const enrolled = (await registry.enrol(enrolment('web-01', key('a'))))._unsafeUnwrap();
      expect(enrolled).toEqual({
        name: 'web-01',
        endpoint: endpoint('web-01.example.org'),
        pins: [pin(key('a'))],
        pairing: 'v2',
        pairedAt: 1_700_000_000_000,
        tags: {},
      });
      expect(await find(registry)).toEqual(enrolled);
      expect((await registry.findByKey(key('a')))._unsafeUnwrap()).toEqual(enrolled);
    });

    it('a pin is written as issued, whatever its state says', async () => {
      const registry = await open();
      const active = pin(key('a'), { state: 'active' });
      (await registry.enrol(enrolment('web-01', key('a'), { pin: active })))._unsafeUnwrap();
      expect((await find(registry))?.pins).toEqual([pin(key('a'))]);
    });

    it('names are keys as given, and lists are sorted by them', async () => {
      const registry = await open();
      const names = ['web-10', 'db', 'web-1', 'Web-1', 'a.b'];
      for (const [index, name] of names.entries()) {
        (await registry.enrol(enrolment(name, key(String(index)))))._unsafeUnwrap();
      }
      const listed = (await registry.list())._unsafeUnwrap().map(({ name }) => name);
      expect(listed).toEqual(['Web-1', 'a.b', 'db', 'web-1', 'web-10']);
      expect((await find(registry, 'Web-1'))?.pins[0]?.spkiSha256).toBe(key('3'));
    });

    it('a registered name is refused without replace and left as it was', async () => {
      const registry = await withAgent();
      const before = await find(registry);
      const error = (await registry.enrol(enrolment('web-01', key('b'))))._unsafeUnwrapErr();
      expect(error).toMatchObject({ code: 'agent_exists', name: 'web-01' });
      expect(await find(registry)).toEqual(before);
      expect((await registry.findByKey(key('b')))._unsafeUnwrap()).toBeUndefined();
    });

    it('a key that another name has pinned is refused with that name, also with replace', async () => {
      const registry = await withAgent();
      (await registry.enrol(enrolment('web-02', key('b'))))._unsafeUnwrap();
      const before = (await registry.list())._unsafeUnwrap();
      for (const [name, taken, holder] of [
        ['web-02', 'a', 'web-01'],
        ['web-01', 'b', 'web-02'],
        ['web-03', 'a', 'web-01'],
      ] as const) {
        const error = (
          await registry.enrol(enrolment(name, key(taken), { replace: true }))
        )._unsafeUnwrapErr();
        expect(error).toMatchObject({ code: 'agent_exists', name: holder });
      }
      expect((await registry.list())._unsafeUnwrap()).toEqual(before);
    });

    it('with replace a further pin is added and everything else stands until it is seen', async () => {
      const registry = await withAgent();
      (await registry.update('web-01', { tags: { env: 'prod' } }))._unsafeUnwrap();
      const moved = { endpoint: endpoint('new.example.org'), replace: true, at: 1_800_000_000_000 };
      const record = (await registry.enrol(enrolment('web-01', key('b'), moved)))._unsafeUnwrap();
      expect(record).toMatchObject({
        endpoint: endpoint('web-01.example.org'),
        pairedAt: 1_700_000_000_000,
        tags: { env: 'prod' },
      });
      expect(record.pins.map(({ spkiSha256, state }) => [spkiSha256, state])).toEqual([
        [key('a'), 'active'],
        [key('b'), 'issued'],
      ]);
      for (const known of ['a', 'b']) {
        expect((await registry.findByKey(key(known)))._unsafeUnwrap()?.name).toBe('web-01');
      }
    });

    it('a newer issued pin takes the place of an older one', async () => {
      const registry = await withAgent();
      for (const next of ['b', 'c']) {
        (await registry.enrol(enrolment('web-01', key(next), { replace: true })))._unsafeUnwrap();
      }
      expect((await find(registry))?.pins.map(({ spkiSha256 }) => spkiSha256)).toEqual([key('a'), key('c')]);
      expect((await registry.findByKey(key('b')))._unsafeUnwrap()).toBeUndefined();
    });

    it('a key that was seen becomes active, takes its endpoint along, and the others go', async () => {
      const registry = await withAgent();
      const moved = { endpoint: endpoint('new.example.org'), replace: true };
      (await registry.enrol(enrolment('web-01', key('b'), moved)))._unsafeUnwrap();
      const record = (await registry.activate('web-01', key('b')))._unsafeUnwrap();
      expect(record.endpoint).toEqual(endpoint('new.example.org'));
      expect(record.pins).toEqual([pin(key('b'), { state: 'active' })]);
      expect(await find(registry)).toEqual(record);
      expect((await registry.findByKey(key('a')))._unsafeUnwrap()).toBeUndefined();
    });

    it('the endpoint of the pin itself is the one that is taken along', async () => {
      const registry = await withAgent();
      const further = pin(key('b'), { endpoint: endpoint('pin.example.org') });
      const issued = (
        await registry.enrol(enrolment('web-01', key('b'), { pin: further, replace: true }))
      )._unsafeUnwrap();
      expect(issued.pins[1]).toEqual(further);
      const active = (await registry.activate('web-01', key('b')))._unsafeUnwrap();
      expect(active.endpoint).toEqual(endpoint('pin.example.org'));
      expect(active.pins).toEqual([pin(key('b'), { state: 'active' })]);
    });

    it('a renewal at the same endpoint leaves a later edit of the endpoint alone', async () => {
      const registry = await withAgent();
      (await registry.enrol(enrolment('web-01', key('b'), { replace: true })))._unsafeUnwrap();
      (await registry.update('web-01', { endpoint: endpoint('edited.example.org') }))._unsafeUnwrap();
      const record = (await registry.activate('web-01', key('b')))._unsafeUnwrap();
      expect(record.endpoint).toEqual(endpoint('edited.example.org'));
    });

    it('activating again changes nothing, and does not drop a pin that is on its way', async () => {
      const registry = await withAgent();
      const before = await find(registry);
      expect((await registry.activate('web-01', key('a')))._unsafeUnwrap()).toEqual(before);
      (await registry.enrol(enrolment('web-01', key('b'), { replace: true })))._unsafeUnwrap();
      const both = (await registry.activate('web-01', key('a')))._unsafeUnwrap();
      expect(both.pins.map(({ state }) => state)).toEqual(['active', 'issued']);
    });

    it('the same key can be certified again, and the older certificate stands until the newer is seen', async () => {
      const registry = await withAgent();
      const again = pin(key('a'), { serial: '2e' });
      const record = (
        await registry.enrol(enrolment('web-01', key('a'), { pin: again, replace: true }))
      )._unsafeUnwrap();
      expect(record.pins.map(({ serial, state }) => [serial, state])).toEqual([
        ['1f', 'active'],
        ['2e', 'issued'],
      ]);
      const active = (await registry.activate('web-01', key('a')))._unsafeUnwrap();
      expect(active.pins).toEqual([{ ...again, state: 'active' }]);
    });

    it('a name that paired by version 2 once never counts as version 1 again', async () => {
      const registry = await withAgent({ pairing: 'v1' });
      expect((await find(registry))?.pairing).toBe('v1');
      for (const [next, pairing, expected] of [
        ['b', 'v2', 'v2'],
        ['c', 'v1', 'v2'],
      ] as const) {
        (await registry.enrol(enrolment('web-01', key(next), { pairing, replace: true })))._unsafeUnwrap();
        const record = (await registry.activate('web-01', key(next)))._unsafeUnwrap();
        expect(record.pairing).toBe(expected);
      }
    });

    it('a key or a name that is not there cannot be activated', async () => {
      const registry = await withAgent();
      for (const [name, spki] of [
        ['web-01', key('b')],
        ['web-02', key('a')],
      ] as const) {
        const error = (await registry.activate(name, spki))._unsafeUnwrapErr();
        expect(error).toMatchObject({ code: 'agent_unknown', name });
      }
    });

    it('stale enrolments go, with the records that nothing else holds, and others stay', async () => {
      const registry = await withAgent();
      const old = 1_600_000_000_000;
      const issued = (digit: string, issuedAt: number) => ({
        pin: pin(key(digit), { issuedAt }),
        replace: true,
      });
      (await registry.enrol(enrolment('web-01', key('b'), issued('b', old - 1))))._unsafeUnwrap();
      (await registry.enrol(enrolment('db', key('c'), issued('c', old - 1))))._unsafeUnwrap();
      (await registry.enrol(enrolment('new', key('d'), issued('d', old))))._unsafeUnwrap();
      const dropped = (await registry.dropStaleEnrolments(old))._unsafeUnwrap();
      expect(dropped).toEqual([
        { name: 'db', pin: pin(key('c'), { issuedAt: old - 1 }) },
        { name: 'web-01', pin: pin(key('b'), { issuedAt: old - 1 }) },
      ]);
      const left = (await registry.list())._unsafeUnwrap();
      expect(left.map(({ name, pins }) => [name, pins.map(({ spkiSha256 }) => spkiSha256)])).toEqual([
        ['new', [key('d')]],
        ['web-01', [key('a')]],
      ]);
      expect((await registry.dropStaleEnrolments(old))._unsafeUnwrap()).toEqual([]);
    });

    it('endpoint and tags are replaced whole, each alone or both', async () => {
      const registry = await withAgent();
      const moved: AgentEndpoint = { host: 'h', ip: '2001:db8::1', port: 1, lookupBy: 'ip' };
      (await registry.update('web-01', { tags: { env: 'prod', site: 'b' } }))._unsafeUnwrap();
      (await registry.update('web-01', { endpoint: moved }))._unsafeUnwrap();
      expect(await find(registry)).toMatchObject({ endpoint: moved, tags: { env: 'prod', site: 'b' } });
      const both = (await registry.update('web-01', { tags: {}, endpoint: endpoint('x') }))._unsafeUnwrap();
      expect(both).toMatchObject({ endpoint: endpoint('x') });
      expect(both.tags).toEqual({});
      const error = (await registry.update('nobody', { tags: {} }))._unsafeUnwrapErr();
      expect(error).toMatchObject({ code: 'agent_unknown', name: 'nobody' });
    });

    it('any tags come back as they were', async () => {
      const registry = await withAgent();
      await fc.assert(
        fc.asyncProperty(
          fc.dictionary(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' })),
          async (tags) => {
            const updated = (await registry.update('web-01', { tags }))._unsafeUnwrap();
            expect({ ...updated.tags }).toEqual({ ...tags });
            expect({ ...(await find(registry))?.tags }).toEqual({ ...tags });
          },
        ),
        { numRuns: 30 },
      );
    });

    it('a renamed agent keeps everything but its name, and the old name is free', async () => {
      const registry = await withAgent();
      (await registry.update('web-01', { tags: { env: 'prod' } }))._unsafeUnwrap();
      (await registry.enrol(enrolment('web-01', key('b'), { replace: true })))._unsafeUnwrap();
      const before = await find(registry);
      const renamed = (await registry.rename('web-01', 'db-01'))._unsafeUnwrap();
      expect(renamed).toEqual({ ...before, name: 'db-01' });
      expect(await find(registry)).toBeUndefined();
      expect((await registry.findByKey(key('a')))._unsafeUnwrap()?.name).toBe('db-01');
      expect((await registry.activate('db-01', key('b')))._unsafeUnwrap().pins).toHaveLength(1);
      expect((await registry.enrol(enrolment('web-01', key('c')))).isOk()).toBe(true);
    });

    it('a rename never takes the name of another agent, nor finds one that is not there', async () => {
      const registry = await withAgent();
      (await registry.enrol(enrolment('web-02', key('b'))))._unsafeUnwrap();
      const before = (await registry.list())._unsafeUnwrap();
      for (const to of ['web-02', 'web-01'])
        expect((await registry.rename('web-01', to))._unsafeUnwrapErr()).toMatchObject({
          code: 'agent_exists',
          name: to,
        });
      expect((await registry.rename('nobody', 'x'))._unsafeUnwrapErr().code).toBe('agent_unknown');
      expect((await registry.list())._unsafeUnwrap()).toEqual(before);
    });

    it('a removed agent is returned once, and its key is free again', async () => {
      const registry = await withAgent();
      const before = await find(registry);
      expect((await registry.remove('web-01'))._unsafeUnwrap()).toEqual(before);
      expect((await registry.list())._unsafeUnwrap()).toEqual([]);
      expect((await registry.findByKey(key('a')))._unsafeUnwrap()).toBeUndefined();
      const error = (await registry.remove('web-01'))._unsafeUnwrapErr();
      expect(error).toMatchObject({ code: 'agent_unknown', name: 'web-01' });
      expect((await registry.enrol(enrolment('web-02', key('a')))).isOk()).toBe(true);
    });

    it('of enrolments of one name at once exactly one succeeds', async () => {
      const registry = await open();
      const outcomes = await Promise.all(
        ['a', 'b', 'c', 'd'].map(async (digit) => registry.enrol(enrolment('web-01', key(digit)))),
      );
      expect(outcomes.filter((outcome) => outcome.isOk())).toHaveLength(1);
      expect((await find(registry))?.pins).toHaveLength(1);
    });

    it('what is handed in or out can be changed without changing what is kept', async () => {
      const registry = await withAgent();
      const tags = { env: 'prod' };
      const updated = (await registry.update('web-01', { tags }))._unsafeUnwrap();
      tags.env = 'changed';
      Object.assign(updated.tags, { env: 'changed' });
      Object.assign((await find(registry))?.endpoint ?? {}, { host: 'changed' });
      expect(await find(registry)).toMatchObject({
        tags: { env: 'prod' },
        endpoint: endpoint('web-01.example.org'),
      });
    });
  });
}
