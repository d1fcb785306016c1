import { errAsync, type ResultAsync } from 'neverthrow';
import { type Calls, judged } from '../../domain/core/border.js';
import type { CtrlExecError } from '../../domain/core/errors.js';
import type { ImportReport } from '../../domain/legacy/import-report.js';
import type { AgentSettings } from '../../domain/settings/agent.js';
import { invalidArgument } from '../core/refusals.js';
import { unfailing } from '../core/unfailing-events.js';
import { agentCalls } from './calls.js';
import {
  type Check,
  type PairingStatus,
  pairingStatus,
  type SelfPing,
  type SelfPingOptions,
  selfCheck,
  selfPing,
} from './checks.js';
import type { AgentContext } from './context.js';
import { type AgentImportOptions, importState } from './migrate/import-state.js';
import type { Paired, PairingOptions } from './pairing/options.js';
import { pair } from './pairing/pair.js';
import { type PairingReport, readReport, writeReport } from './pairing/report.js';
import { type ServeOptions, type ServingAgent, serve } from './serve.js';
import { registeredPort } from './served-port.js';
import { loadSettings, loadTrustedSettings } from './state/state.js';
import { changeSerial, type TrustedSerial, trustedSerials } from './trust/trusted-serials.js';

type Answer<T> = ResultAsync<T, CtrlExecError>;

/** A managed host. No method throws for an expected failure. */
export interface Agent extends AsyncDisposable {
  /** The settings as they are written now, and the warnings of the configuration. */
  configuration(): Answer<{ settings: AgentSettings; warnings: readonly string[] }>;
  /** Takes over identity, trust, configuration and allowlist of another installation; nothing that is here is overwritten. */
  importState(options: AgentImportOptions): Answer<ImportReport>;
  /** Pairs with a dispatcher that is in pairing mode; its `signal` ends the waiting. */
  pair(options: PairingOptions): Answer<Paired>;
  /** Whether this host is paired, as what, and with whom. */
  pairingStatus(): Answer<PairingStatus>;
  /** How the last pairing that waited in the background stands; undefined when there was none. */
  pairingReport(): Answer<PairingReport | undefined>;
  /** Notes how a background pairing stands, for other processes to read. */
  reportPairing(report: PairingReport): Answer<void>;
  /** Serves until it is closed, or its `signal` aborted; `identity_missing` when not paired. */
  serve(options?: ServeOptions): Answer<ServingAgent>;
  /** The dispatcher serials that this host trusts, revoked ones included. */
  trustedSerials(): Answer<readonly TrustedSerial[]>;
  /**
   * Makes a trusted serial a person's own: it stays when the serial that brought it is revoked. An agent that serves takes it over
   * at its next reload. `invalid_argument`: the serial is not trusted here.
   */
  keepSerial(serial: string): Answer<void>;
  /**
   * Accepts requests of a trusted serial without a signature until it signs again, where `accept_legacy_dispatchers` is on: for a
   * host that goes back to a legacy dispatcher. Otherwise as `keepSerial`.
   */
  acceptUnsigned(serial: string): Answer<void>;
  /** Configuration, allowlist and certificates, a line each. */
  selfCheck(): Promise<readonly Check[]>;
  /** A TLS round trip to the agent that serves on this host. @param port default: the one that it was registered or served on last, else the configured one */
  selfPing(port?: number, options?: SelfPingOptions): Answer<SelfPing>;
  /** Closes outgoing connections. An agent that serves is closed by itself. */
  close(): Promise<void>;
}

/** An agent over its context. */
export function createAgent(over: AgentContext): Agent {
  const context = { ...over, events: unfailing(over.events) };
  const close = () => context.channel.close();
  const methods: Agent = {
    configuration: () => loadSettings(context),
    pair: (options) =>
      loadTrustedSettings(context).andThen((settings) =>
        registeredPort(context, settings, options.agentPort).andThen((agentPort) =>
          pair(context, settings, { ...options, agentPort }),
        ),
      ),
    importState: (options) => importState(context, options),
    pairingStatus: () => pairingStatus(context),
    pairingReport: () => loadSettings(context).andThen(({ settings }) => readReport(context, settings)),
    reportPairing: (report) =>
      loadSettings(context).andThen(({ settings }) => writeReport(context, settings, report)),
    serve: (options) => serve(context, options),
    trustedSerials: () =>
      loadTrustedSettings(context).andThen((settings) => trustedSerials(context, settings)),
    keepSerial: (serial) =>
      loadTrustedSettings(context).andThen((settings) => changeSerial(context, settings, serial, 'keep')),
    acceptUnsigned: (serial) =>
      loadTrustedSettings(context).andThen((settings) => changeSerial(context, settings, serial, 'unsigned')),
    selfCheck: () => selfCheck(context),
    selfPing: (port, options) => selfPing(context, port, options),
    close,
    [Symbol.asyncDispose]: close,
  };
  return judged(methods, agentCalls satisfies Calls<Agent>, (wrong) => errAsync(invalidArgument(wrong)));
}
