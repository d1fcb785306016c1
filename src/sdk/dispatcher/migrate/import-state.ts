import { ok, type ResultAsync, safeTry } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import { type ImportLines, type ImportReport, importLines } from '../../../domain/legacy/import-report.js';
import type { AgentRecord } from '../../../domain/trust/agent-record.js';
import type { Certificate } from '../../../domain/trust/certificate.js';
import { formatRotation } from '../../../domain/trust/rotation.js';
import type { DispatcherItem, KeyStoreChange } from '../../../ports/key-store.js';
import type { Adoption } from '../../../ports/registry.js';
import { openImportDirectory } from '../../core/migrate/directory.js';
import type { KeyPair } from '../../core/migrate/key-pair.js';
import { type PlannedOwnership, planOwnership, takeOver } from '../../core/migrate/ownership.js';
import type { DispatcherContext } from '../context.js';
import { succession } from '../trust/reconcile/succession.js';
import { exclusively } from '../trust/rotation.js';
import { issuePairing } from '../trust/setup.js';
import { planAgents, readAgents, reportStranded } from './agents.js';
import { planConfiguration } from './configuration.js';
import { judgeFiles } from './file-trust.js';
import { planIdentity } from './identity.js';
import { type ControlHostSources, readControlHost } from './sources.js';

/** Where the other installation is. */
export interface ImportOptions {
  /** The other installation: its configuration directory with its state beside it, or one directory with everything. */
  readonly directory: string;
  /** Where its registry is, where that is not to be found from there. */
  readonly state?: string;
  /** Say what would be done, and write nothing. Default false. */
  readonly dryRun?: boolean;
}

/** What is to be written, in the order in which it is written. */
interface Plan extends PlannedOwnership {
  readonly lines: ImportLines;
  /** With the settings that will hold. */
  readonly context: DispatcherContext;
  readonly ca: KeyStoreChange<DispatcherItem>;
  readonly identity: KeyStoreChange<DispatcherItem>;
  readonly pairing: boolean;
  readonly agents: readonly Adoption[];
  /** Serial of the identity; undefined: there was none. */
  readonly serial: string | undefined;
}

/**
 * Takes over what another installation of a dispatcher has: configuration, CA, identity, agents. Nothing in its directory is
 * changed; where that is this dispatcher's own home, what is there stays and what is missing is added. What is here already is
 * never overwritten: another CA, identity or `dispatcher_id` is an error, an agent that is registered stays as it is.
 * Interrupted anywhere, a further call goes on.
 *
 * Err: `invalid_argument` (no such directory), `ca_missing` and `identity_missing` (nothing to import), `certificate_invalid`,
 * `config_invalid`, `ca_exists`, `identity_exists`, `locked`, and what the disk can meet.
 */
export function importState(
  context: DispatcherContext,
  options: ImportOptions,
): ResultAsync<ImportReport, CtrlExecError> {
  const { configurationFile, events, files, settings } = context;
  const { dryRun = false } = options;
  return safeTry<ImportReport, CtrlExecError>(async function* () {
    const directory = yield* openImportDirectory(files, 'ctrl-exec', options, {
      home: settings.home,
      stateDir: settings.stateDir,
      configurationFile,
    });
    const sources = yield* readControlHost(files, directory);
    // What is wrong is found before a lock is taken, for that makes a store.
    const found = yield* plan(context, sources, true);
    if (dryRun) return ok({ dryRun, ...found.lines });
    const done = yield* exclusively(context, () =>
      plan(context, sources, false).andThen((planned) => carryOut(planned).map(() => planned)),
    );
    if (done.lines.imported.length > 0)
      events.emit({
        action: 'state-imported',
        fields: { from: directory.path, serial: done.serial, agents: done.agents.length },
      });
    return ok({ dryRun, ...done.lines });
  });
}

/** @param dry nothing may be made, not even an empty store */
function plan(
  context: DispatcherContext,
  sources: ControlHostSources,
  dry: boolean,
): ResultAsync<Plan, CtrlExecError> {
  return safeTry<Plan, CtrlExecError>(async function* () {
    const lines = importLines();
    const configuration = yield* planConfiguration(context, sources, lines);
    const { settings } = configuration;
    const identity = yield* planIdentity(context, sources, lines);
    const { own, former } = identity;
    const held = [own, former?.certificate].flatMap((each) => (each ? [each.serial] : []));
    const agents = readAgents(sources, held, lines);
    // Where nothing has begun there is no registry, and looking would make one.
    const registered: readonly AgentRecord[] = dry && !identity.begun ? [] : yield* context.registry.list();
    const formerNames = dry && !identity.begun ? [] : yield* context.registry.formerNames();
    const adoptions = planAgents(agents, registered, formerNames, context.clock.now(), lines);
    const useful = former !== undefined && agents.some(({ serial }) => serial === former.certificate.serial);
    const previous = useful && own ? yield* planFormer(context, own, former, lines) : {};
    if (own) {
      const standings = new Map(registered.map(({ name, standing }) => [name, standing]));
      const { dispatcherId: id } = settings;
      const usable = useful ? held : [own.serial];
      reportStranded(agents, { current: own.serial, id, held: usable }, standings, lines);
    }
    const { files, keyStore } = context;
    const judged = settings.fileTrust === 'strict' ? yield* judgeFiles({ files, keyStore }, settings) : [];
    const ownership = await planOwnership(
      files,
      judged,
      {
        own: sources.directory.inPlace ? [settings.home, settings.stateDir] : [],
        candidates: judged.map(({ path }) => path),
      },
      configuration,
      lines,
    );
    advise(settings, sources, agents.length, lines);
    return ok({
      lines,
      context: { ...context, settings },
      ...ownership,
      ca: identity.ca,
      identity: { ...identity.identity, ...previous },
      pairing: identity.pairing,
      agents: adoptions,
      serial: own?.serial,
    });
  });
}

/** The identity of before becomes the previous one, as after a rotation: for as long as an overlap lasts from now on. */
function planFormer(
  context: DispatcherContext,
  own: Certificate,
  former: KeyPair,
  lines: ImportLines,
): ResultAsync<KeyStoreChange<DispatcherItem>, CtrlExecError> {
  const { clock, crypto, keyStore, settings } = context;
  return safeTry<KeyStoreChange<DispatcherItem>, CtrlExecError>(async function* () {
    const present = yield* keyStore.read(['dispatcher-previous-key', 'rotation']);
    if (present['dispatcher-previous-key'] !== undefined || present.rotation !== undefined) return ok({});
    const key = yield* crypto.signingKey(former.key);
    const { certificate } = former;
    const step = succession(context, { certificate, signer: { key, certificate } }, own);
    lines.imported.push({
      what: 'previous identity',
      detail: `certificate ${certificate.serial}: it reaches agents that have yet to learn of the present one, for ${settings.certOverlapDays} days`,
    });
    return ok({
      'dispatcher-previous-key': former.key,
      'dispatcher-previous-certificate': certificate.pem,
      rotation: formatRotation({ successions: [step], announcedAt: undefined, switchedAt: clock.now() }),
    });
  });
}

function advise(
  settings: DispatcherContext['settings'],
  { directory }: ControlHostSources,
  agents: number,
  lines: ImportLines,
): void {
  if (agents > 0 && settings.allowLegacyAgents !== '*')
    lines.advice.push(
      'agents of older versions sign nothing: name them in allow_legacy_agents, or set it to *, until they run this version',
    );
  if (directory.inPlace)
    lines.advice.push(
      `once the services of the older version are gone, keep their user out of the state: chmod 700 ${settings.stateDir}`,
    );
}

/** Each step leaves something that a further import goes on from. */
function carryOut(plan: Plan): ResultAsync<void, CtrlExecError> {
  const { agents, configuration, context, ca, identity, pairing, taken } = plan;
  const { configurationFile, crypto, files, keyStore, registry } = context;
  return safeTry<void, CtrlExecError>(async function* () {
    yield* takeOver(files, taken, { [configurationFile]: configuration });
    if (Object.keys(ca).length > 0) yield* keyStore.replace(ca, { onlyIfAbsent: true });
    const pairingIdentity = pairing
      ? yield* crypto
          .generateKey('p256')
          .andThen((key) =>
            issuePairing(context, key).map(({ pem }) => ({ 'pairing-key': key, 'pairing-certificate': pem })),
          )
      : {};
    const change = { ...identity, ...pairingIdentity };
    if (Object.keys(change).length > 0) yield* keyStore.replace(change, { onlyIfAbsent: true });
    if (agents.length > 0) yield* registry.adopt(agents);
    return ok(undefined);
  });
}
