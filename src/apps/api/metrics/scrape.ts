import type { Registry } from 'prom-client';
import type { MetricsSource } from '../routes/metrics.js';
import type { ApiState } from '../serve/states.js';
import { fleetGauges } from './fleet-gauges.js';

/** What the server counts and how its fleet stands, in the text format of Prometheus. @param current the state in force */
export function scrape(registry: Registry, current: () => ApiState): MetricsSource {
  const gauges = fleetGauges(registry);
  return async () => {
    // Not the dispatcher that the request has: what a scrape looks up is no call of a client.
    const { dispatcher, tls } = current();
    await gauges.refresh(dispatcher, typeof tls?.cert === 'string' ? tls.cert : undefined);
    return { contentType: registry.contentType, text: await registry.metrics() };
  };
}
