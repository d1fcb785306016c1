import type { RequestHandler } from 'express';
import type { Registry } from 'prom-client';
import type { Dispatcher } from '../../sdk/dispatcher.js';
import { admit } from './admission.js';
import { refuse } from './answer.js';
import { fleetGauges } from './fleet-gauges.js';
import type { ApiState } from './states.js';

/** The state in force, and its dispatcher with every call counted. */
interface Current extends ApiState {
  readonly counted: Dispatcher;
}

/** `GET /metrics`, in the text format of Prometheus, for whom the hook allows `api` and then `metrics`. */
export function metricsRoute(registry: Registry, current: () => Current): RequestHandler {
  const gauges = fleetGauges(registry);
  return async (request, response) => {
    const { counted, dispatcher, tls } = current();
    const admitted = await admit(request, counted);
    if (admitted.isErr()) return refuse(response, admitted.error);
    const { asking, refusalOf } = admitted.value;
    response.locals['username'] = asking.caller.username;
    const permitted = await counted.authorise({ action: 'metrics' }, asking);
    if (permitted.isErr()) return refuse(response, refusalOf(permitted.error));
    await gauges.refresh(dispatcher, typeof tls?.cert === 'string' ? tls.cert : undefined);
    response.setHeader('Content-Type', registry.contentType);
    response.send(await registry.metrics());
  };
}
