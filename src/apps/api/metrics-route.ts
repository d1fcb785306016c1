import type { RequestHandler } from 'express';
import { fleetGauges } from './fleet-gauges.js';
import type { ApiMetrics } from './metrics.js';
import type { ApiState } from './states.js';

/** `GET /metrics`, in the text format of Prometheus, for whom the hook allows `api` and then `metrics`. */
export function metricsRoute({ registry }: ApiMetrics, current: () => ApiState): RequestHandler {
  const gauges = fleetGauges(registry);
  return async (_request, response) => {
    const { dispatcher, tls } = current();
    await gauges.refresh(dispatcher, typeof tls?.cert === 'string' ? tls.cert : undefined);
    response.setHeader('Content-Type', registry.contentType);
    response.send(await registry.metrics());
  };
}
