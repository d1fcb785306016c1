// The registry of a dispatcher in a JSON file. It belongs to one process; two would need a lock, or a database.
import { open, readFile, rename } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { failure } from 'ctrl-exec/errors';
import { worthKeeping } from 'ctrl-exec/ports';
import { err, ok, ResultAsync } from 'neverthrow';

/** @import { CtrlExecError } from 'ctrl-exec/errors' */
/** @import { AgentRecord, AgentStanding, KeyPin, Registry } from 'ctrl-exec/ports' */
/** @import { Result } from 'neverthrow' */

/**
 * What the file holds. `pending` is what the pin of a pairing brings along when it becomes active; `former` are names that
 * were renamed or removed, with how they had paired.
 *
 * @typedef {'v1' | 'v2'} Version
 * @typedef {{ pairing: Version, standing: AgentStanding }} Pending
 * @typedef {{ record: AgentRecord, pending: Pending }} Entry
 * @typedef {{ agents: Map<string, Entry>, former: Map<string, Version> }} Contents
 */

/** @type {(name: string) => CtrlExecError<'agent_unknown'>} */
const unknown = (name) => failure('agent_unknown', `no agent is registered as "${name}"`, { name });
/** @type {(name: string) => CtrlExecError<'agent_exists'>} */
const exists = (name) => failure('agent_exists', `"${name}" has that name or key`, { name });

/** @param {KeyPin} pin */
const isPairing = (pin) => pin.state === 'issued' && !pin.renewal;
/** @param {Contents} contents */
const sorted = ({ agents }) =>
  [...agents.values()].map(({ record }) => record).sort((a, b) => (a.name < b.name ? -1 : 1));
/** @param {Contents} contents @param {string} key */
const holder = (contents, key) =>
  sorted(contents).find(({ pins }) => pins.some(({ spkiSha256 }) => spkiSha256 === key));
/** @param {Contents} contents @param {string} name @param {string} key another agent has this key */
const taken = (contents, name, key) => {
  const other = holder(contents, key)?.name;
  return other === undefined || other === name ? undefined : exists(other);
};
/** @param {Contents} contents @param {AgentRecord} record */
const remember = ({ former }, { name, pairing }) => {
  if (former.get(name) !== 'v2') former.set(name, pairing);
};
/** @param {KeyPin} pin @returns {KeyPin} */
const activated = ({ renewal: _, endpoint: __, ...pin }) => ({ ...pin, state: 'active' });

/** The last transaction over each file: the next one waits for it. @type {Map<string, Promise<void>>} */
const lastOver = new Map();

/** @param {Contents} contents */
const textOf = ({ agents, former }) => JSON.stringify({ agents: [...agents], former: [...former] });

/** JSON has no undefined: what is not known of an agent's standing is put back. @param {string} text @returns {Contents} */
function contentsOf(text) {
  const notKnown = { caSet: undefined, lastContact: undefined, speaks: undefined };
  const { agents, former } = JSON.parse(text, (key, value) =>
    key === 'standing' ? { ...notKnown, ...value } : value,
  );
  return { agents: new Map(agents), former: new Map(former) };
}

/**
 * @param {string} file where it is, or will be
 * @returns {Registry}
 */
export function jsonRegistry(file) {
  const path = resolve(file);

  const read = async () => {
    try {
      return await readFile(path, 'utf8');
    } catch (thrown) {
      if (/** @type {NodeJS.ErrnoException} */ (thrown).code === 'ENOENT') return '{"agents":[],"former":[]}';
      throw thrown;
    }
  };

  /** Ok only when it would survive a power cut: the file is synced, renamed, and so is the directory. @param {string} text */
  const write = async (text) => {
    const next = await open(`${path}.new`, 'w', 0o600);
    try {
      await next.writeFile(text);
      await next.sync();
    } finally {
      await next.close();
    }
    await rename(`${path}.new`, path);
    const directory = await open(dirname(path), 'r');
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  };

  /**
   * One transaction: `decide` may change the contents that it is given; an Err changes nothing.
   *
   * @template T
   * @template {CtrlExecError} E
   * @param {string} operation
   * @param {(contents: Contents) => Result<T, E>} decide
   * @returns {ResultAsync<T, E | CtrlExecError<'store_failed'>>}
   */
  const transaction = (operation, decide) => {
    const work = (lastOver.get(path) ?? Promise.resolve()).then(async () => {
      const contents = contentsOf(await read());
      const before = textOf(contents);
      const outcome = decide(contents);
      const after = textOf(contents);
      if (outcome.isOk() && after !== before) await write(after);
      return outcome;
    });
    const settled = work.then(
      () => undefined,
      () => undefined,
    );
    lastOver.set(path, settled);
    return ResultAsync.fromPromise(work, (thrown) =>
      failure('store_failed', `${path}: ${/** @type {Error} */ (thrown).message}`, {
        operation,
        reason: /** @type {NodeJS.ErrnoException} */ (thrown).code ?? 'unreadable',
      }),
    ).andThen((outcome) => outcome);
  };

  /**
   * A transaction over one agent: `decide` gives its record as it is from now on.
   *
   * @template {CtrlExecError} E
   * @param {string} operation
   * @param {string} name
   * @param {(entry: Entry, contents: Contents) => Result<AgentRecord, E>} decide
   * @returns {ResultAsync<AgentRecord, E | CtrlExecError<'agent_unknown' | 'store_failed'>>}
   */
  const change = (operation, name, decide) =>
    transaction(operation, (contents) => {
      const entry = contents.agents.get(name);
      /** @type {Result<AgentRecord, E | CtrlExecError<'agent_unknown'>>} */
      const outcome = entry ? decide(entry, contents) : err(unknown(name));
      return outcome.map((record) => {
        if (entry) contents.agents.set(record.name, { ...entry, record });
        return record;
      });
    });

  return {
    list: ({ names, tags = {}, speaks, after, limit } = {}) =>
      transaction('list', (contents) => {
        const met = sorted(contents).filter(
          (record) =>
            (names?.includes(record.name) ?? true) &&
            Object.entries(tags).every(
              ([key, value]) => Object.hasOwn(record.tags, key) && record.tags[key] === value,
            ) &&
            (speaks === undefined || record.standing.speaks === speaks) &&
            (after === undefined || record.name > after),
        );
        return ok(met.slice(0, limit));
      }),
    find: (name) => transaction('find', ({ agents }) => ok(agents.get(name)?.record)),
    findByKey: (key) => transaction('findByKey', (contents) => ok(holder(contents, key))),
    formerNames: () =>
      transaction('formerNames', ({ agents, former }) =>
        ok([...former.keys()].filter((name) => !agents.has(name)).sort()),
      ),

    enrol: ({ name, endpoint, pin, pairing, replace, standing, at }) =>
      transaction('enrol', (contents) => {
        const other = taken(contents, name, pin.spkiSha256);
        if (other) return err(other);
        const known = contents.agents.get(name)?.record;
        if (pairing === 'v1' && (known?.pairing === 'v2' || contents.former.get(name) === 'v2'))
          return err(failure('downgrade_refused', `"${name}" has paired by version 2 before`, { name }));
        if (known && !replace) return err(exists(name));
        const moved = known && JSON.stringify(known.endpoint) !== JSON.stringify(endpoint);
        const { renewal: _, ...paired } = pin;
        /** @type {KeyPin} */
        const issued = { ...paired, state: 'issued', ...(moved && { endpoint }) };
        /** @type {AgentRecord} */
        const record = known
          ? { ...known, pins: [...known.pins.filter((each) => !isPairing(each)), issued] }
          : { name, endpoint, pins: [issued], pairing, pairedAt: at, tags: {}, standing };
        contents.agents.set(name, { record, pending: { pairing, standing } });
        return ok(record);
      }),

    adopt: (agents) =>
      transaction('adopt', (contents) => {
        const added = agents.filter(({ name }) => !contents.agents.has(name) && !contents.former.has(name));
        for (const agent of added)
          contents.agents.set(agent.name, {
            record: { ...agent, pins: [], pairing: 'v1', adopted: true },
            pending: { pairing: 'v1', standing: agent.standing },
          });
        return ok(added.map(({ name }) => name));
      }),

    pin: (name, certificate) =>
      change('pin', name, ({ record }, contents) => {
        const other = taken(contents, name, certificate.spkiSha256);
        if (other) return err(other);
        const active = record.pins.find(({ state }) => state === 'active');
        if (active) return active.spkiSha256 === certificate.spkiSha256 ? ok(record) : err(exists(name));
        const { adopted: _, ...paired } = record;
        return ok({ ...paired, pins: [{ ...certificate, state: 'active' }, ...record.pins] });
      }),

    activate: (name, key) =>
      change(
        'activate',
        name,
        /** @returns {Result<AgentRecord, CtrlExecError<'agent_unknown'>>} */ ({ record, pending }) => {
          const pin = record.pins.findLast(({ spkiSha256 }) => spkiSha256 === key);
          if (!pin) return err(unknown(name));
          if (pin.state === 'active') return ok(record);
          if (pin.renewal) return ok({ ...record, pins: [activated(pin), ...record.pins.filter(isPairing)] });
          const { adopted: _, ...known } = record;
          return ok({
            ...known,
            endpoint: pin.endpoint ?? record.endpoint,
            pins: [activated(pin)],
            pairing: record.pairing === 'v2' ? 'v2' : pending.pairing,
            pairedAt: pin.issuedAt,
            standing: pending.standing,
          });
        },
      ),

    renew: (name, pin) =>
      change('renew', name, ({ record }, contents) => {
        const other = taken(contents, name, pin.spkiSha256);
        if (other) return err(other);
        /** @type {KeyPin} */
        const renewal = { ...pin, state: 'issued', renewal: true };
        const active = record.pins.filter(({ state }) => state === 'active');
        return ok({ ...record, pins: [...active, renewal, ...record.pins.filter(isPairing)] });
      }),

    note: (name, said) =>
      change('note', name, ({ record }) => {
        const standing = worthKeeping(record.standing, said);
        return ok(standing ? { ...record, standing } : record);
      }),

    dropStaleEnrolments: (issuedBefore) =>
      transaction('dropStaleEnrolments', (contents) => {
        const dropped = [];
        for (const { name, pins, adopted } of sorted(contents)) {
          const entry = contents.agents.get(name);
          const stale = pins.filter((pin) => isPairing(pin) && pin.issuedAt < issuedBefore);
          if (!entry || stale.length === 0) continue;
          dropped.push(...stale.map((pin) => ({ name, pin })));
          const left = pins.filter((pin) => !stale.includes(pin));
          if (left.length > 0 || adopted) entry.record = { ...entry.record, pins: left };
          else contents.agents.delete(name);
        }
        return ok(dropped);
      }),

    update: (name, { name: next = name, endpoint, tags, unsigned }) =>
      change('update', name, ({ record }, contents) => {
        if (next !== name && contents.agents.has(next)) return err(exists(next));
        if (next !== name) {
          contents.agents.delete(name);
          remember(contents, record);
        }
        return ok({
          ...record,
          name: next,
          endpoint: { ...record.endpoint, ...endpoint },
          tags: tags ?? record.tags,
          standing: unsigned ? { ...record.standing, speaks: undefined } : record.standing,
        });
      }),

    remove: (name) =>
      transaction('remove', (contents) => {
        const record = contents.agents.get(name)?.record;
        if (!record) return err(unknown(name));
        contents.agents.delete(name);
        remember(contents, record);
        return ok(record);
      }),
  };
}
