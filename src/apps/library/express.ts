/**
 * The HTTP API as a router for an express application of your own. The only entry that loads express.
 * @module
 */

export { type ApiRouterOptions, createApiRouter } from '../api/router.js';
export type { MetricsSource } from '../api/routes/metrics.js';
export type { Gate, GatePlace } from '../api/serve/gate.js';
