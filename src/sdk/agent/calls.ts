import {
  asks,
  callback,
  filled,
  flag,
  mayAsk,
  maybe,
  number,
  oneOf,
  port,
  record,
  signal,
  text,
  variants,
} from '../../domain/core/border.js';
import type { SelfPingOptions } from './checks.js';
import type { AgentImportOptions } from './migrate/import-state.js';
import type { PairingOptions, PairingTrust } from './pairing/options.js';
import type { PairingReport } from './pairing/report.js';
import type { ServeOptions } from './serve.js';

const serial = { name: 'serial', kind: text };

/** What every method of an agent takes; compared with `Agent` where it is used. */
export const agentCalls = {
  importState: [
    asks(
      record<AgentImportOptions>({
        directory: filled,
        state: maybe(filled),
        dispatcherSerial: maybe(text),
        acceptLegacyDispatchers: maybe(flag),
        dryRun: maybe(flag),
      }),
    ),
  ],
  pair: [
    asks(
      record<PairingOptions>({
        dispatcher: filled,
        port: maybe(port(1)),
        lookupBy: maybe(oneOf('hostname', 'ip')),
        hostName: maybe(text),
        agentPort: maybe(port(0)),
        trust: variants<PairingTrust, 'kind'>('kind', {
          compare: { kind: oneOf('compare'), confirm: callback() },
          'ca-sha256': { kind: oneOf('ca-sha256'), fingerprint: text },
          join: { kind: oneOf('join'), token: text },
          'first-use': { kind: oneOf('first-use') },
        }),
        onCode: maybe(callback()),
        newKey: maybe(flag),
        replace: maybe(flag),
        allowV1: maybe(flag),
        timeout: maybe(number),
        signal: maybe(signal),
      }),
    ),
  ],
  reportPairing: [
    asks(
      record<PairingReport>({
        state: oneOf('waiting', 'paired', 'timed-out', 'denied', 'failed'),
        request: text,
        code: text,
        reason: maybe(text),
        pid: number,
      }),
    ),
  ],
  serve: [mayAsk(record<ServeOptions>({ port: maybe(port(0)), bind: maybe(text), signal: maybe(signal) }))],
  keepSerial: [serial],
  acceptUnsigned: [serial],
  selfPing: [
    { name: 'port', kind: maybe(port(1)) },
    mayAsk(record<SelfPingOptions>({ signal: maybe(signal) })),
  ],
} as const;
