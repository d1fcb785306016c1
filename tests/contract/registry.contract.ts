import fc from 'fast-check';
import type { Result } from 'neverthrow';
import { describe, expect, it } from 'vitest';
import type { CtrlExecError } from '../../src/domain/core/errors.js';
import type { AgentEndpoint, AgentRecord, KeyPin } from '../../src/domain/trust/agent-record.js';
import { type AgentStanding, newStanding } from '../../src/domain/trust/agent-standing.js';
import type { Adoption, AgentListing, Enrolment, Registry } from '../../src/ports/registry.js';
import type { Revocations } from '../../src/ports/revocations.js';
import { failure, value } from './result.js';

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
  standing: newStanding(['d1']),
  at: 1_700_000_000_000,
  ...change,
});

/** Which certificates there are, and as what. */
const kinds = (record: AgentRecord | undefined) =>
  record?.pins.map(({ spkiSha256, serial, state, renewal }) => [
    spkiSha256[0],
    serial,
    renewal ? 'renewed' : state,
  ]);

const { state: _, ...certificate } = pin(key('b'), { serial: '2e', issuedAt: 1_800_000_000_000 });

const adoption = (name: string, change: Partial<Adoption> = {}): Adoption => ({
  name,
  endpoint: endpoint(`${name}.example.org`),
  tags: { env: 'prod' },
  standing: newStanding(['02']),
  pairedAt: 1_600_000_000_000,
  ...change,
});

/** A registry, and the revocations that it knows of. */
export interface RegistryWithRevocations {
  readonly registry: Registry;
  readonly revocations: Revocations;
}

/**
 * What holds for every `Registry`. `open` gives an empty registry; `openTwo` two empty ones that hold the same; `openBoth` one
 * together with its revocations: left out for a registry that has no access to these.
 */
export function registryContract(
  adapter: string,
  open: () => Registry | Promise<Registry>,
  openTwo: () => Promise<readonly [Registry, Registry]>,
  openBoth?: () => Promise<RegistryWithRevocations>,
): void {
  if (openBoth) withRevocationsContract(adapter, openBoth);
  describe(`registry: ${adapter}`, () => {
    /** With `web-01` active under key a. */
    const withAgent = async (change: Partial<Enrolment> = {}): Promise<Registry> => {
      const registry = await open();
      value(await registry.enrol(enrolment('web-01', key('a'), change)));
      value(await registry.activate('web-01', key('a')));
      return registry;
    };
    const find = async (registry: Registry, name = 'web-01'): Promise<AgentRecord | undefined> =>
      value(await registry.find(name));

    it('an empty registry knows nobody', async () => {
      const registry = await open();
      expect(value(await registry.list())).toEqual([]);
      expect(await find(registry)).toBeUndefined();
      expect(value(await registry.findByKey(key('a')))).toBeUndefined();
    });

    it('an enrolment is a record with one issued pin', async () => {
      const registry = await open();
      const enrolled = value(await registry.enrol(enrolment('web-01', key('a'))));
      expect(enrolled).toEqual({
        name: 'web-01',
        endpoint: endpoint('web-01.example.org'),
        pins: [pin(key('a'))],
        pairing: 'v2',
        pairedAt: 1_700_000_000_000,
        tags: {},
        standing: newStanding(['d1']),
      });
      expect(await find(registry)).toEqual(enrolled);
      expect(value(await registry.findByKey(key('a')))).toEqual(enrolled);
    });

    it('a pin is written as issued at a pairing, whatever it says', async () => {
      const registry = await open();
      const active = pin(key('a'), { state: 'active', renewal: true });
      value(await registry.enrol(enrolment('web-01', key('a'), { pin: active })));
      expect((await find(registry))?.pins).toEqual([pin(key('a'))]);
    });

    it('names are keys as given, and lists are sorted by them', async () => {
      const registry = await open();
      const names = ['web-10', 'db', 'web-1', 'Web-1', 'a.b'];
      for (const [index, name] of names.entries()) {
        value(await registry.enrol(enrolment(name, key(String(index)))));
      }
      const listed = value(await registry.list()).map(({ name }) => name);
      expect(listed).toEqual(['Web-1', 'a.b', 'db', 'web-1', 'web-10']);
      expect((await find(registry, 'Web-1'))?.pins[0]?.spkiSha256).toBe(key('3'));
    });

    it('a list has those that meet all that is asked for, page by page', async () => {
      const registry = await open();
      const tagged: readonly (readonly [string, Record<string, string>])[] = [
        ['a-1', { env: 'prod', role: 'web' }],
        ['a-2', { env: 'prod', 'a.b "c"': '', '0': 'zero' }],
        ['B-1', { env: 'test', role: 'web' }],
        ['b-2', { role: 'env' }],
      ];
      for (const [index, [name, tags]] of tagged.entries()) {
        value(await registry.enrol(enrolment(name, key(String(index)))));
        value(await registry.update(name, { tags }));
      }
      value(await registry.note('a-2', { speaks: 'signed' }));
      value(await registry.note('b-2', { speaks: 'unsigned' }));
      const listed = async (listing?: AgentListing) =>
        value(await registry.list(listing)).map(({ name }) => name);
      const all = ['B-1', 'a-1', 'a-2', 'b-2'];
      const expected: readonly (readonly [AgentListing, readonly string[]])[] = [
        [{}, all],
        [{ tags: {} }, all],
        [{ tags: { env: 'prod' } }, ['a-1', 'a-2']],
        [{ tags: { env: 'prod', role: 'web' } }, ['a-1']],
        [{ tags: { 'a.b "c"': '', '0': 'zero' } }, ['a-2']],
        [{ tags: { env: 'web' } }, []],
        [{ tags: { 'e\0nv': 'prod' } }, []],
        [{ tags: { env: 'prod\ud800' } }, []],
        [{ speaks: 'signed' }, ['a-2']],
        [{ speaks: 'unsigned', names: ['a-2', 'b-2'] }, ['b-2']],
        [{ names: ['b-2', 'nobody', 'B-1'] }, ['B-1', 'b-2']],
        [{ names: [] }, []],
        [{ limit: 2 }, ['B-1', 'a-1']],
        [{ limit: 2, after: 'a-1' }, ['a-2', 'b-2']],
        [{ after: 'a-11' }, ['a-2', 'b-2']],
        [{ after: 'b-2' }, []],
        [{ limit: 1, after: 'a-1', tags: { env: 'prod' } }, ['a-2']],
      ];
      for (const [listing, names] of expected)
        expect({ listing, names: await listed(listing) }).toEqual({ listing, names });
      const whole = value(await registry.list());
      expect(value(await registry.list({ names: ['a-2'] }))).toEqual([whole[2]]);
    });

    it('a registered name is refused without replace and left as it was', async () => {
      const registry = await withAgent();
      const before = await find(registry);
      const error = failure(await registry.enrol(enrolment('web-01', key('b'))));
      expect(error).toMatchObject({ code: 'agent_exists', name: 'web-01' });
      expect(await find(registry)).toEqual(before);
      expect(value(await registry.findByKey(key('b')))).toBeUndefined();
    });

    it('a key that another name has pinned is refused with that name, also with replace', async () => {
      const registry = await withAgent();
      value(await registry.enrol(enrolment('web-02', key('b'))));
      const before = value(await registry.list());
      for (const [name, taken, holder] of [
        ['web-02', 'a', 'web-01'],
        ['web-01', 'b', 'web-02'],
        ['web-03', 'a', 'web-01'],
      ] as const) {
        const error = failure(await registry.enrol(enrolment(name, key(taken), { replace: true })));
        expect(error).toMatchObject({ code: 'agent_exists', name: holder });
      }
      expect(value(await registry.list())).toEqual(before);
    });

    it('with replace a further pin is added and everything else stands until it is seen', async () => {
      const registry = await withAgent();
      value(await registry.update('web-01', { tags: { env: 'prod' } }));
      const moved = { endpoint: endpoint('new.example.org'), replace: true, at: 1_800_000_000_000 };
      const record = value(await registry.enrol(enrolment('web-01', key('b'), moved)));
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
        expect(value(await registry.findByKey(key(known)))?.name).toBe('web-01');
      }
    });

    it('a newer issued pin takes the place of an older one', async () => {
      const registry = await withAgent();
      for (const next of ['b', 'c']) {
        value(await registry.enrol(enrolment('web-01', key(next), { replace: true })));
      }
      expect((await find(registry))?.pins.map(({ spkiSha256 }) => spkiSha256)).toEqual([key('a'), key('c')]);
      expect(value(await registry.findByKey(key('b')))).toBeUndefined();
    });

    it('a key that was seen becomes active, takes its endpoint along, and the others go', async () => {
      const registry = await withAgent();
      const moved = { endpoint: endpoint('new.example.org'), replace: true };
      value(await registry.enrol(enrolment('web-01', key('b'), moved)));
      const record = value(await registry.activate('web-01', key('b')));
      expect(record.endpoint).toEqual(endpoint('new.example.org'));
      expect(record.pins).toEqual([pin(key('b'), { state: 'active' })]);
      expect(await find(registry)).toEqual(record);
      expect(value(await registry.findByKey(key('a')))).toBeUndefined();
    });

    it('the endpoint of the pin itself is the one that is taken along', async () => {
      const registry = await withAgent();
      const further = pin(key('b'), { endpoint: endpoint('pin.example.org') });
      const issued = value(
        await registry.enrol(enrolment('web-01', key('b'), { pin: further, replace: true })),
      );
      expect(issued.pins[1]).toEqual(further);
      const active = value(await registry.activate('web-01', key('b')));
      expect(active.endpoint).toEqual(endpoint('pin.example.org'));
      expect(active.pins).toEqual([pin(key('b'), { state: 'active' })]);
    });

    it('a renewal at the same endpoint leaves a later edit of the endpoint alone', async () => {
      const registry = await withAgent();
      value(await registry.enrol(enrolment('web-01', key('b'), { replace: true })));
      value(await registry.update('web-01', { endpoint: endpoint('edited.example.org') }));
      const record = value(await registry.activate('web-01', key('b')));
      expect(record.endpoint).toEqual(endpoint('edited.example.org'));
    });

    it('was paired when the certificate of the active key was issued, not of one that is on its way', async () => {
      const registry = await withAgent();
      const later = 1_800_000_000_000;
      const renewed = { pin: pin(key('b'), { issuedAt: later }), replace: true, at: later };
      value(await registry.enrol(enrolment('web-01', key('b'), renewed)));
      expect((await find(registry))?.pairedAt).toBe(1_700_000_000_000);
      const active = value(await registry.activate('web-01', key('b')));
      expect(active.pairedAt).toBe(later);
      value(await registry.activate('web-01', key('b')));
      expect((await find(registry))?.pairedAt).toBe(later);
    });

    it('activating again changes nothing, and does not drop a pin that is on its way', async () => {
      const registry = await withAgent();
      const before = await find(registry);
      expect(value(await registry.activate('web-01', key('a')))).toEqual(before);
      value(await registry.enrol(enrolment('web-01', key('b'), { replace: true })));
      const both = value(await registry.activate('web-01', key('a')));
      expect(both.pins.map(({ state }) => state)).toEqual(['active', 'issued']);
    });

    it('the same key can be certified again, and the older certificate stands until the newer is seen', async () => {
      const registry = await withAgent();
      const again = pin(key('a'), { serial: '2e' });
      const record = value(
        await registry.enrol(enrolment('web-01', key('a'), { pin: again, replace: true })),
      );
      expect(record.pins.map(({ serial, state }) => [serial, state])).toEqual([
        ['1f', 'active'],
        ['2e', 'issued'],
      ]);
      const active = value(await registry.activate('web-01', key('a')));
      expect(active.pins).toEqual([{ ...again, state: 'active' }]);
    });

    it('a name that paired by version 1 may go on by version 2, and not back', async () => {
      const registry = await withAgent({ pairing: 'v1' });
      expect((await find(registry))?.pairing).toBe('v1');
      const v1 = { pairing: 'v1', replace: true } as const;
      value(await registry.enrol(enrolment('web-01', key('c'), v1)));
      value(await registry.enrol(enrolment('web-01', key('b'), { replace: true })));
      expect(value(await registry.activate('web-01', key('b'))).pairing).toBe('v2');
      const refused = failure(await registry.enrol(enrolment('web-01', key('c'), v1)));
      expect(refused.code).toBe('downgrade_refused');
    });

    it('a key or a name that is not there cannot be activated', async () => {
      const registry = await withAgent();
      for (const [name, spki] of [
        ['web-01', key('b')],
        ['web-02', key('a')],
      ] as const) {
        const error = failure(await registry.activate(name, spki));
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
      value(await registry.enrol(enrolment('web-01', key('b'), issued('b', old - 1))));
      value(await registry.enrol(enrolment('db', key('c'), issued('c', old - 1))));
      value(await registry.enrol(enrolment('new', key('d'), issued('d', old))));
      const dropped = value(await registry.dropStaleEnrolments(old));
      expect(dropped).toEqual([
        { name: 'db', pin: pin(key('c'), { issuedAt: old - 1 }) },
        { name: 'web-01', pin: pin(key('b'), { issuedAt: old - 1 }) },
      ]);
      const left = value(await registry.list());
      expect(left.map(({ name, pins }) => [name, pins.map(({ spkiSha256 }) => spkiSha256)])).toEqual([
        ['new', [key('d')]],
        ['web-01', [key('a')]],
      ]);
      expect(value(await registry.dropStaleEnrolments(old))).toEqual([]);
    });

    it('what the agent learnt at a further pairing counts from when its key was seen', async () => {
      const registry = await withAgent();
      const known = {
        ...newStanding(['d1', 'd2']),
        caSet: 'a,b',
        crlNumber: 7,
        lastContact: 1_750_000_000_000,
        speaks: 'signed' as const,
      };
      const { serials, ...others } = known;
      value(await registry.note('web-01', { trusts: ['d2'], ...others }));
      const again = { replace: true, standing: newStanding(['d3']) };
      const issued = value(await registry.enrol(enrolment('web-01', key('b'), again)));
      expect(issued.standing).toStrictEqual(known);
      const active = value(await registry.activate('web-01', key('b')));
      expect(active.standing).toStrictEqual(newStanding(['d3']));
      expect((await find(registry))?.standing).toStrictEqual(newStanding(['d3']));
      value(await registry.note('web-01', { trusts: ['d4'] }));
      const idempotent = value(await registry.activate('web-01', key('b')));
      expect(idempotent.standing.serials).toEqual(['d3', 'd4']);
    });

    it('a standing comes back as it was given', async () => {
      const registry = await open();
      const full: AgentStanding = {
        serials: ['d2', 'd1'],
        caSet: 'a,b',
        crlNumber: 3,
        lastContact: 5,
        speaks: 'unsigned',
      };
      for (const [name, digit, standing] of [
        ['full', 'a', full],
        ['empty', 'b', newStanding()],
      ] as const) {
        value(await registry.enrol(enrolment(name, key(digit), { standing })));
        value(await registry.activate(name, key(digit)));
        expect((await find(registry, name))?.standing).toStrictEqual(standing);
      }
    });

    it('a renewed certificate is issued beside the active one, and nothing else changes', async () => {
      const registry = await withAgent();
      const before = await find(registry);
      const record = value(await registry.renew('web-01', certificate));
      const renewal: KeyPin = { ...certificate, state: 'issued', renewal: true };
      expect(record).toEqual({ ...before, pins: [pin(key('a'), { state: 'active' }), renewal] });
      expect(await find(registry)).toEqual(record);
      for (const known of ['a', 'b']) {
        expect(value(await registry.findByKey(key(known)))).toEqual(record);
      }
    });

    it('the key of a renewal that was seen takes the place of the one before, and nothing else changes', async () => {
      const registry = await withAgent({ pairing: 'v1' });
      value(await registry.note('web-01', { trusts: ['d2'] }));
      const before = await find(registry);
      const elsewhere = { ...certificate, endpoint: endpoint('elsewhere.example.org') };
      value(await registry.renew('web-01', elsewhere));
      const record = value(await registry.activate('web-01', key('b')));
      expect(record).toEqual({ ...before, pins: [{ ...certificate, state: 'active' }] });
      expect(record.pins[0]).not.toHaveProperty('renewal');
      expect(await find(registry)).toEqual(record);
      expect(value(await registry.activate('web-01', key('b')))).toEqual(record);
      expect(value(await registry.findByKey(key('a')))).toBeUndefined();
      value(await registry.renew('web-01', { ...certificate, spkiSha256: key('c') }));
      expect(kinds(await find(registry))).toEqual([
        ['b', '2e', 'active'],
        ['c', '2e', 'renewed'],
      ]);
    });

    it('a renewal over the same key is issued beside the active one, and meant when the key is seen', async () => {
      const registry = await withAgent();
      const same = { ...certificate, spkiSha256: key('a') };
      const issued = value(await registry.renew('web-01', same));
      expect(kinds(issued)).toEqual([
        ['a', '1f', 'active'],
        ['a', '2e', 'renewed'],
      ]);
      const record = value(await registry.activate('web-01', key('a')));
      expect(record.pins).toEqual([{ ...same, state: 'active' }]);
      expect(value(await registry.activate('web-01', key('a')))).toEqual(record);
    });

    it('a renewal takes the place of an earlier one that was not seen', async () => {
      const registry = await withAgent();
      value(await registry.renew('web-01', certificate));
      const later = { ...certificate, spkiSha256: key('c'), serial: '3d' };
      expect(kinds(value(await registry.renew('web-01', later)))).toEqual([
        ['a', '1f', 'active'],
        ['c', '3d', 'renewed'],
      ]);
      expect(value(await registry.findByKey(key('b')))).toBeUndefined();
    });

    it.each(['the renewal', 'the pairing'])(
      'a renewal and a pairing stand beside each other: %s came first',
      async (first) => {
        const registry = await withAgent();
        const again = enrolment('web-01', key('c'), { replace: true, pin: pin(key('c'), { serial: '3d' }) });
        if (first === 'the renewal') value(await registry.renew('web-01', certificate));
        value(await registry.enrol(again));
        if (first === 'the pairing') value(await registry.renew('web-01', certificate));
        const all = [
          ['a', '1f', 'active'],
          ['b', '2e', 'renewed'],
          ['c', '3d', 'issued'],
        ];
        expect(kinds(await find(registry))).toEqual(all);
        expect(kinds(value(await registry.activate('web-01', key('a'))))).toEqual(all);
        value(await registry.enrol(again));
        value(await registry.renew('web-01', certificate));
        expect(kinds(await find(registry))).toEqual(all);
      },
    );

    it('the key of a pairing that was seen drops the renewal, too', async () => {
      const registry = await withAgent();
      value(await registry.renew('web-01', certificate));
      value(await registry.enrol(enrolment('web-01', key('c'), { replace: true })));
      const record = value(await registry.activate('web-01', key('c')));
      expect(record.pins).toEqual([pin(key('c'), { state: 'active' })]);
      expect(value(await registry.findByKey(key('b')))).toBeUndefined();
    });

    it('the key of a renewal that was seen leaves a pairing under way, which then can be seen with all it brings', async () => {
      const registry = await withAgent({ pairing: 'v1' });
      const moved = { endpoint: endpoint('new.example.org'), standing: newStanding(['d3']), replace: true };
      value(await registry.enrol(enrolment('web-01', key('c'), moved)));
      value(await registry.renew('web-01', certificate));
      const renewed = value(await registry.activate('web-01', key('b')));
      expect(kinds(renewed)).toEqual([
        ['b', '2e', 'active'],
        ['c', '1f', 'issued'],
      ]);
      expect(renewed).toMatchObject({
        endpoint: endpoint('web-01.example.org'),
        pairing: 'v1',
        standing: newStanding(['d1']),
      });
      const paired = value(await registry.activate('web-01', key('c')));
      expect(kinds(paired)).toEqual([['c', '1f', 'active']]);
      expect(paired).toMatchObject({
        endpoint: endpoint('new.example.org'),
        pairing: 'v2',
        standing: newStanding(['d3']),
      });
    });

    it('a pairing lapses while a renewal stays, however old it is', async () => {
      const registry = await withAgent();
      value(await registry.renew('web-01', { ...certificate, issuedAt: 1 }));
      const old = pin(key('c'), { issuedAt: 2 });
      value(await registry.enrol(enrolment('web-01', key('c'), { pin: old, replace: true })));
      value(await registry.enrol(enrolment('new', key('d'), { pin: pin(key('d'), { issuedAt: 2 }) })));
      value(await registry.renew('new', { ...certificate, spkiSha256: key('e'), issuedAt: 1 }));
      expect(value(await registry.dropStaleEnrolments(3))).toEqual([
        { name: 'new', pin: pin(key('d'), { issuedAt: 2 }) },
        { name: 'web-01', pin: old },
      ]);
      expect(value(await registry.list()).map(kinds)).toEqual([
        [['e', '2e', 'renewed']],
        [
          ['a', '1f', 'active'],
          ['b', '2e', 'renewed'],
        ],
      ]);
      expect((await registry.activate('new', key('e'))).isOk()).toBe(true);
    });

    it('a key that another name has pinned is no renewal, nor is one of an agent that is not there', async () => {
      const registry = await withAgent();
      value(await registry.enrol(enrolment('web-02', key('c'))));
      const before = value(await registry.list());
      const taken = { ...certificate, spkiSha256: key('c') };
      expect(failure(await registry.renew('web-01', taken))).toMatchObject({
        code: 'agent_exists',
        name: 'web-02',
      });
      expect(failure(await registry.renew('nobody', certificate))).toMatchObject({
        code: 'agent_unknown',
        name: 'nobody',
      });
      expect(value(await registry.list())).toEqual(before);
      value(await registry.renew('web-01', certificate));
      const error = failure(await registry.enrol(enrolment('web-02', key('b'), { replace: true })));
      expect(error).toMatchObject({ code: 'agent_exists', name: 'web-01' });
    });

    it('what is noted is added to what is known, and what is left out stays', async () => {
      const registry = await withAgent();
      const before = await find(registry);
      const notes = [
        [{ trusts: ['d2', 'd1'] }, { serials: ['d1', 'd2'] }],
        [{ caSet: 'a,b' }, { caSet: 'a,b' }],
        [{ crlNumber: 4 }, { crlNumber: 4 }],
        [{ lastContact: 1_700_000_000_000 }, { lastContact: 1_700_000_000_000 }],
        [{ trusts: ['d3'], retired: ['d1'] }, { serials: ['d2', 'd3'] }],
        [{}, {}],
      ] as const;
      let standing = newStanding(['d1']);
      for (const [change, result] of notes) {
        standing = { ...standing, ...result };
        const noted = value(await registry.note('web-01', change));
        expect(noted).toEqual({ ...before, standing });
        expect((await find(registry))?.standing).toStrictEqual(standing);
      }
      expect(failure(await registry.note('nobody', { crlNumber: 1 }))).toMatchObject({
        code: 'agent_unknown',
        name: 'nobody',
      });
      expect(failure(await registry.note('nobody', {})).code).toBe('agent_unknown');
    });

    it('the last contact lags by less than a minute, unless there is something else to note', async () => {
      const registry = await withAgent();
      const at = 1_700_000_000_000;
      const last = async (lastContact: number, more = {}) => {
        value(await registry.note('web-01', { lastContact, ...more }));
        return (await find(registry))?.standing.lastContact;
      };
      expect(await last(5)).toBe(5);
      expect(await last(at)).toBe(at);
      expect(await last(at + 59_999)).toBe(at);
      expect(await last(at + 60_000)).toBe(at + 60_000);
      expect(await last(at + 60_001, { trusts: ['d1'], crlNumber: 0 })).toBe(at + 60_000);
      expect(await last(at + 60_002, { crlNumber: 1 })).toBe(at + 60_002);
      // The clock was set back.
      expect(await last(at - 3_600_000)).toBe(at - 3_600_000);
    });

    it('two writers that note different serials at once undo nothing of each other', async () => {
      const writers = await openTwo();
      const [registry, other] = writers;
      value(await registry.enrol(enrolment('web-01', key('a'))));
      value(await other.activate('web-01', key('a')));
      const serials = Array.from({ length: 40 }, (_, index) => `e${index}`);
      const notes = serials.map(async (serial, index) =>
        writers[index % 2]?.note('web-01', { trusts: [serial], lastContact: 1_700_000_000_000 + index }),
      );
      for (const note of await Promise.all(notes)) if (note) value(note);
      for (const writer of writers) {
        const known = (await find(writer))?.standing.serials;
        expect([...(known ?? [])].sort()).toEqual(['d1', ...serials].sort());
      }
    });

    it('endpoint and tags are replaced, each alone or both', async () => {
      const registry = await withAgent();
      const moved: AgentEndpoint = { host: 'h', ip: '2001:db8::1', port: 1, lookupBy: 'ip' };
      value(await registry.update('web-01', { tags: { env: 'prod', site: 'b' } }));
      value(await registry.update('web-01', { endpoint: moved }));
      expect(await find(registry)).toMatchObject({ endpoint: moved, tags: { env: 'prod', site: 'b' } });
      const both = value(await registry.update('web-01', { tags: {}, endpoint: endpoint('x') }));
      expect(both).toMatchObject({ endpoint: endpoint('x') });
      expect(both.tags).toEqual({});
      const error = failure(await registry.update('nobody', { tags: {} }));
      expect(error).toMatchObject({ code: 'agent_unknown', name: 'nobody' });
    });

    it('any tags come back as they were', async () => {
      const registry = await withAgent();
      await fc.assert(
        fc.asyncProperty(
          fc.dictionary(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' })),
          async (tags) => {
            const updated = value(await registry.update('web-01', { tags }));
            expect({ ...updated.tags }).toEqual({ ...tags });
            expect({ ...(await find(registry))?.tags }).toEqual({ ...tags });
          },
        ),
        { numRuns: 30 },
      );
    });

    it('a renamed agent keeps everything but its name, and the old name is free', async () => {
      const registry = await withAgent();
      value(await registry.update('web-01', { tags: { env: 'prod' } }));
      value(await registry.enrol(enrolment('web-01', key('b'), { replace: true })));
      value(await registry.renew('web-01', { ...certificate, spkiSha256: key('f') }));
      value(await registry.note('web-01', { trusts: ['d2'], crlNumber: 3 }));
      const before = await find(registry);
      const renamed = value(await registry.update('web-01', { name: 'db-01' }));
      expect(renamed).toEqual({ ...before, name: 'db-01' });
      expect(await find(registry)).toBeUndefined();
      expect(value(await registry.findByKey(key('a')))?.name).toBe('db-01');
      expect(renamed.pins).toHaveLength(3);
      expect(value(await registry.activate('db-01', key('b'))).pins).toHaveLength(1);
      expect((await registry.enrol(enrolment('web-01', key('c')))).isOk()).toBe(true);
    });

    it('a rename never takes the name of another agent, nor finds one that is not there', async () => {
      const registry = await withAgent();
      value(await registry.enrol(enrolment('web-02', key('b'))));
      const before = value(await registry.list());
      expect(failure(await registry.update('web-01', { name: 'web-02' }))).toMatchObject({
        code: 'agent_exists',
        name: 'web-02',
      });
      expect(failure(await registry.update('nobody', { name: 'x' }))).toMatchObject({
        code: 'agent_unknown',
        name: 'nobody',
      });
      expect(value(await registry.list())).toEqual(before);
    });

    it('its own name is no new one, and whatever stands beside it is changed', async () => {
      const registry = await withAgent();
      const before = await find(registry);
      expect(value(await registry.update('web-01', { name: 'web-01' }))).toEqual(before);
      const tagged = value(await registry.update('web-01', { name: 'web-01', tags: { a: 'b' } }));
      expect(tagged).toEqual({ ...before, tags: { a: 'b' } });
      expect(value(await registry.list())).toEqual([tagged]);
    });

    it('a change of nothing is none, but the agent must be there', async () => {
      const registry = await withAgent();
      const before = await find(registry);
      expect(value(await registry.update('web-01', {}))).toEqual(before);
      expect(await find(registry)).toEqual(before);
      expect(failure(await registry.update('nobody', {})).code).toBe('agent_unknown');
    });

    it('name, endpoint and tags are changed together', async () => {
      const registry = await withAgent();
      value(await registry.enrol(enrolment('web-01', key('b'), { replace: true })));
      const before = await find(registry);
      const change = { name: 'db-01', endpoint: endpoint('moved.example.org'), tags: { env: 'prod' } };
      const changed = value(await registry.update('web-01', change));
      expect(changed).toEqual({ ...before, ...change });
      expect(value(await registry.list())).toEqual([changed]);
    });

    it('a name that is taken leaves endpoint, tags and the other agent as they were', async () => {
      const registry = await withAgent();
      value(await registry.enrol(enrolment('web-02', key('b'))));
      const before = value(await registry.list());
      const change = { name: 'web-02', endpoint: endpoint('moved.example.org'), tags: { env: 'prod' } };
      expect(failure(await registry.update('web-01', change)).code).toBe('agent_exists');
      expect(value(await registry.list())).toEqual(before);
    });

    it('changes of several fields of an endpoint at once all hold', async () => {
      const registry = await withAgent();
      const changes = [{ host: 'h' }, { ip: '2001:db8::1' }, { port: 1 }, { lookupBy: 'ip' }] as const;
      const updated = await Promise.all(
        changes.map(async (change) => registry.update('web-01', { endpoint: change })),
      );
      for (const update of updated) value(update);
      expect((await find(registry))?.endpoint).toEqual(Object.assign({}, ...changes));
    });

    it('of renames of one agent at once exactly one succeeds, and so for one name', async () => {
      const registry = await withAgent();
      value(await registry.enrol(enrolment('web-02', key('b'))));
      const outcomes = await Promise.all([
        registry.update('web-01', { name: 'db-01', endpoint: { port: 1 } }),
        registry.update('web-01', { name: 'db-02', endpoint: { port: 2 } }),
      ]);
      expect(outcomes.filter((outcome) => outcome.isOk())).toHaveLength(1);
      const [moved] = outcomes.flatMap((outcome) => (outcome.isOk() ? [outcome.value] : []));
      const towards = await Promise.all(
        [moved?.name ?? '', 'web-02'].map(async (name) => registry.update(name, { name: 'one' })),
      );
      expect(towards.filter((outcome) => outcome.isOk())).toHaveLength(1);
      expect(value(await registry.list())).toHaveLength(2);
    });

    it('a removed agent is returned once, and its key is free again', async () => {
      const registry = await withAgent();
      const before = await find(registry);
      expect(value(await registry.remove('web-01'))).toEqual(before);
      expect(value(await registry.list())).toEqual([]);
      expect(value(await registry.findByKey(key('a')))).toBeUndefined();
      const error = failure(await registry.remove('web-01'));
      expect(error).toMatchObject({ code: 'agent_unknown', name: 'web-01' });
      expect((await registry.enrol(enrolment('web-02', key('a')))).isOk()).toBe(true);
    });

    const { state: __, ...firstPin } = pin(key('c'), { serial: '05' });

    it('adopted agents have no pin, and are listed and found; those that are registered stay as they are', async () => {
      const registry = await withAgent();
      const before = await find(registry);
      const added = await registry.adopt([adoption('old-02'), adoption('web-01'), adoption('old-01')]);
      expect(value(added)).toEqual(['old-02', 'old-01']);
      const { name, ...kept } = adoption('old-01');
      expect(await find(registry, name)).toStrictEqual({
        name,
        ...kept,
        pins: [],
        pairing: 'v1',
        adopted: true,
      });
      expect(await find(registry)).toStrictEqual(before);
      expect(value(await registry.list()).map((each) => each.name)).toEqual(['old-01', 'old-02', 'web-01']);
      expect(value(await registry.adopt([adoption('old-01', { tags: {} })]))).toEqual([]);
      expect((await find(registry, 'old-01'))?.tags).toEqual({ env: 'prod' });
    });

    it('an agent without a pin does not lapse, when others do', async () => {
      const registry = await open();
      value(await registry.adopt([adoption('old-01')]));
      value(await registry.enrol(enrolment('web-01', key('a'))));
      value(await registry.dropStaleEnrolments(Number.MAX_SAFE_INTEGER));
      expect(value(await registry.list()).map(({ name }) => name)).toEqual(['old-01']);
    });

    it('an adopted agent stays, and unpinned, when a pairing for its name lapses', async () => {
      const registry = await open();
      value(await registry.adopt([adoption('old-01')]));
      const again = enrolment('old-01', key('a'), { pairing: 'v1', replace: true });
      expect(value(await registry.enrol(again))).toMatchObject({ adopted: true });
      value(await registry.dropStaleEnrolments(Number.MAX_SAFE_INTEGER));
      expect(await find(registry, 'old-01')).toMatchObject({ pins: [], adopted: true });
      value(await registry.enrol(again));
      const paired = value(await registry.activate('old-01', key('a')));
      expect('adopted' in paired).toBe(false);
    });

    it('a name that was renamed or removed is former, and is not adopted again', async () => {
      const registry = await open();
      value(await registry.adopt([adoption('old-01'), adoption('old-02')]));
      value(await registry.update('old-01', { name: 'new-01' }));
      value(await registry.remove('old-02'));
      expect(value(await registry.formerNames())).toEqual(['old-01', 'old-02']);
      expect(value(await registry.adopt([adoption('old-01'), adoption('old-02')]))).toEqual([]);
      value(await registry.enrol(enrolment('old-02', key('b'))));
      expect(value(await registry.formerNames())).toEqual(['old-01']);
    });

    it('the first pin is active at once, and found; the same again changes nothing', async () => {
      const registry = await open();
      value(await registry.adopt([adoption('old-01')]));
      const pinned = value(await registry.pin('old-01', firstPin));
      expect(pinned.pins).toStrictEqual([{ ...firstPin, state: 'active' }]);
      expect(value(await registry.findByKey(key('c')))?.name).toBe('old-01');
      expect(value(await registry.pin('old-01', firstPin))).toStrictEqual(pinned);
    });

    it('a first pin never takes the place of another key, nor a key from another name', async () => {
      const registry = await withAgent();
      value(await registry.adopt([adoption('old-01')]));
      const other = failure(await registry.pin('web-01', firstPin));
      expect(other).toMatchObject({ code: 'agent_exists', name: 'web-01' });
      const taken = failure(await registry.pin('old-01', { ...firstPin, spkiSha256: key('a') }));
      expect(taken).toMatchObject({ code: 'agent_exists', name: 'web-01' });
      expect(failure(await registry.pin('nobody', firstPin)).code).toBe('agent_unknown');
    });

    it('version 1 never follows version 2: not by replacing, nor after the name was removed or given up', async () => {
      const registry = await withAgent();
      const v1 = (name: string) =>
        registry.enrol(enrolment(name, key('b'), { pairing: 'v1', replace: true }));
      expect(failure(await v1('web-01'))).toMatchObject({
        code: 'downgrade_refused',
        name: 'web-01',
      });
      value(await registry.update('web-01', { name: 'web-02' }));
      expect(failure(await v1('web-01')).code).toBe('downgrade_refused');
      value(await registry.remove('web-02'));
      expect(failure(await v1('web-02')).code).toBe('downgrade_refused');
      expect(value(await v1('web-03')).pairing).toBe('v1');
    });

    it('that an agent has signed is forgotten only when that is asked for', async () => {
      const registry = await withAgent();
      value(await registry.note('web-01', { speaks: 'signed' }));
      value(await registry.note('web-01', { speaks: 'unsigned' }));
      expect((await find(registry))?.standing.speaks).toBe('signed');
      value(await registry.update('web-01', { unsigned: true }));
      expect((await find(registry))?.standing).toStrictEqual(newStanding(['d1']));
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
      const updated = value(await registry.update('web-01', { tags }));
      tags.env = 'changed';
      Object.assign(updated.tags, { env: 'changed' });
      const trusts = ['d2'];
      value(await registry.note('web-01', { trusts }));
      trusts[0] = 'changed';
      Object.assign((await find(registry))?.endpoint ?? {}, { host: 'changed' });
      Object.assign((await find(registry))?.standing.serials ?? [], ['changed']);
      expect(await find(registry)).toMatchObject({
        tags: { env: 'prod' },
        endpoint: endpoint('web-01.example.org'),
        standing: newStanding(['d1', 'd2']),
      });
    });
  });
}

function withRevocationsContract(adapter: string, open: () => Promise<RegistryWithRevocations>): void {
  describe(`registry with revocations: ${adapter}`, () => {
    const banning = async ({ revocations }: RegistryWithRevocations, spkiSha256: string) =>
      value(
        await revocations.revoke({ entries: [], keys: [{ spkiSha256, name: 'web-01', bannedAt: 1 }], at: 1 }),
      );
    const refusal = (result: Result<AgentRecord, CtrlExecError>): CtrlExecError => failure(result);
    const banned = { code: 'key_banned', spkiSha256: key('a'), name: 'web-01' };

    it('a banned key is pinned for nobody, whatever the way, until its ban is lifted', async () => {
      const stores = await open();
      const { registry, revocations } = stores;
      value(await registry.enrol(enrolment('web-02', key('c'))));
      value(await registry.activate('web-02', key('c')));
      value(await registry.adopt([adoption('web-03')]));
      await banning(stores, key('a'));
      const ways = {
        'a pairing': () => registry.enrol(enrolment('web-01', key('a'))),
        'a pairing by version 1': () => registry.enrol(enrolment('web-01', key('a'), { pairing: 'v1' })),
        'in place of another key': () => registry.enrol(enrolment('web-02', key('a'), { replace: true })),
        'a renewal': () => registry.renew('web-02', pin(key('a'), { serial: '3d' })),
        'the first pin': () => registry.pin('web-03', pin(key('a'), { serial: '3d' })),
      };
      for (const [way, write] of Object.entries(ways))
        expect({ way, ...refusal(await write()) }).toMatchObject({ way, ...banned });
      expect(value(await registry.findByKey(key('a')))).toBeUndefined();
      value(await revocations.unban(key('a')));
      value(await registry.pin('web-03', pin(key('a'), { serial: '3d' })));
    });

    it('an agent whose key is banned is not renewed, also with a fresh key', async () => {
      const stores = await open();
      const { registry } = stores;
      value(await registry.enrol(enrolment('web-01', key('a'))));
      value(await registry.activate('web-01', key('a')));
      await banning(stores, key('a'));
      expect(failure(await registry.renew('web-01', pin(key('b'), { serial: '2e' })))).toMatchObject(banned);
    });

    it('a key that is banned before it was seen takes the place of none', async () => {
      const stores = await open();
      const { registry } = stores;
      value(await registry.enrol(enrolment('web-01', key('b'))));
      value(await registry.activate('web-01', key('b')));
      value(await registry.enrol(enrolment('web-01', key('a'), { replace: true })));
      await banning(stores, key('a'));
      expect(failure(await registry.activate('web-01', key('a')))).toMatchObject(banned);
      const pins = value(await registry.find('web-01'))?.pins ?? [];
      expect(pins.filter(({ state }) => state === 'active').map(({ spkiSha256 }) => spkiSha256)).toEqual([
        key('b'),
      ]);
    });

    it('the certificates of pins that are gone are kept under the name of their agent', async () => {
      const { registry, revocations } = await open();
      const issued = async (name: string) =>
        value(await revocations.issued({ name })).map(({ serial, spkiSha256 }) => [serial, spkiSha256[0]]);
      value(await registry.enrol(enrolment('web-01', key('a'))));
      value(await registry.activate('web-01', key('a')));
      value(await registry.renew('web-01', pin(key('b'), { serial: '2e' })));
      expect(await issued('web-01')).toEqual([]);
      value(await registry.activate('web-01', key('b')));
      expect(await issued('web-01')).toEqual([['1f', 'a']]);
      value(
        await registry.enrol(
          enrolment('web-01', key('c'), { pin: pin(key('c'), { serial: '3d' }), replace: true }),
        ),
      );
      value(await registry.activate('web-01', key('c')));
      value(await registry.update('web-01', { name: 'web-02' }));
      expect(await issued('web-01')).toEqual([]);
      expect(await issued('web-02')).toEqual([
        ['1f', 'a'],
        ['2e', 'b'],
      ]);
      value(await registry.remove('web-02'));
      expect(await issued('web-02')).toEqual([
        ['1f', 'a'],
        ['2e', 'b'],
        ['3d', 'c'],
      ]);
      value(
        await registry.enrol(
          enrolment('web-09', key('d'), { pin: pin(key('d'), { serial: '4c', issuedAt: 1 }) }),
        ),
      );
      value(await registry.dropStaleEnrolments(2));
      expect(await issued('web-09')).toEqual([['4c', 'd']]);
    });
  });
}
