import { type ApiDocument, apiDocument } from './document/openapi.js';
import type { Route } from './route.js';
import { editAgent, getAgent, listAgents, unpairAgent } from './routes/agents.js';
import { cancelRun } from './routes/cancel.js';
import { type MetricsSource, metricsRoute } from './routes/metrics.js';
import { approvePairing, denyPairing, listPairingRequests } from './routes/pairing.js';
import { discoveryByGet, discoveryByPost, ping } from './routes/ping.js';
import { retryRun } from './routes/retry.js';
import { createRun, run } from './routes/run.js';
import { listRuns } from './routes/run-list.js';
import { serviceRoutes } from './routes/service.js';
import { getRun, legacyStatus } from './routes/status.js';
import { getCertificates, getSerialStatus, listLocks } from './routes/trust.js';
import { watchRun } from './routes/watch.js';

const working: readonly Route[] = [
  ping,
  run,
  legacyStatus,
  discoveryByGet,
  discoveryByPost,
  createRun,
  listRuns,
  getRun,
  watchRun,
  cancelRun,
  retryRun,
  listAgents,
  getAgent,
  editAgent,
  unpairAgent,
  listPairingRequests,
  approvePairing,
  denyPairing,
  getCertificates,
  getSerialStatus,
  listLocks,
];

/** Every route of the API, and the document that describes them; made when it is first asked for. @param metrics undefined: there are none */
export function apiRoutes(version: string, metrics?: MetricsSource) {
  let made: ApiDocument | undefined;
  const describe = (base: string): ApiDocument => {
    made ??= apiDocument(routes, version);
    return { ...made, servers: [{ url: base === '' ? '/' : base }] };
  };
  const routes: readonly Route[] = [
    ...serviceRoutes(() => routes, describe),
    ...(metrics ? [metricsRoute(metrics)] : []),
    ...working,
  ];
  return { routes, describe };
}
