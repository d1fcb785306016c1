import { X509Certificate } from 'node:crypto';
import { okAsync, type ResultAsync } from 'neverthrow';
import { Gauge, type Registry } from 'prom-client';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import { activePin, contactState, contactStates } from '../../../domain/trust/agent-state.js';
import type { Dispatcher } from '../../../sdk/dispatcher/dispatcher.js';

/** Milliseconds for which what a scrape has found is good for the next one, too. */
const goodFor = 5_000;

/** Agents of which each has a gauge of its own: those whose certificates end first. */
const mostAgents = 20;

const day = 86_400_000;

/** How the fleet stands, as gauges that are looked up when they are asked for. They tell of the whole home, whoever changed it. */
export function fleetGauges(registry: Registry) {
  const registers = [registry];
  const agents = new Gauge({
    name: 'ctrl_exec_agents',
    help: 'Registered agents by state: current, pending (yet to learn the present serial), stale (follows by succession), unknown (not seen yet), expired.',
    labelNames: ['state'] as const,
    registers,
  });
  const expiry = new Gauge({
    name: 'ctrl_exec_certificate_expiry_days',
    help: 'Days until a certificate ends: ca, dispatcher, api (the TLS of this API, where it has one), agent (the one that ends first).',
    labelNames: ['certificate'] as const,
    registers,
  });
  const agentExpiry = new Gauge({
    name: 'ctrl_exec_agent_certificate_expiry_days',
    help: `Days until the certificates of agents end, of the ${mostAgents} that end first.`,
    labelNames: ['agent'] as const,
    registers,
  });
  const pairing = new Gauge({
    name: 'ctrl_exec_pairing_requests_waiting',
    help: 'Pairing requests that wait for a decision.',
    registers,
  });
  const locks = new Gauge({
    name: 'ctrl_exec_locks_held',
    help: 'Locks of host and script that are held, by any process of this home.',
    registers,
  });
  const behind = new Gauge({
    name: 'ctrl_exec_revocations_pending_agents',
    help: 'Agents that have not acknowledged the newest revocation list, and may accept what was revoked.',
    registers,
  });
  const failed = new Gauge({
    name: 'ctrl_exec_scrape_failures',
    help: 'Parts of the gauges above that could not be looked up for this scrape; they are left out.',
    registers,
  });

  const look = async (dispatcher: Dispatcher, apiCertificate: string | undefined) => {
    const now = Date.now();
    const days = (notAfter: number) => (notAfter - now) / day;
    let failures = 0;
    const part = async <T>(answer: ResultAsync<T, CtrlExecError>, show: (value: T) => void) => {
      const outcome = await answer;
      if (outcome.isErr()) failures += 1;
      else show(outcome.value);
    };
    for (const gauge of [agents, expiry, agentExpiry, pairing, locks, behind]) gauge.reset();
    for (const gauge of [pairing, locks, behind]) gauge.remove();
    await Promise.all([
      part(dispatcher.ca(), ({ notAfter }) => expiry.set({ certificate: 'ca' }, days(notAfter))),
      part(
        dispatcher
          .serialStatus()
          .andThen((serials) => dispatcher.agents().map((records) => ({ serials, records }))),
        ({ serials, records }) => {
          expiry.set({ certificate: 'dispatcher' }, days(serials.notAfter));
          behind.set(serials.agents.filter((agent) => agent.revocationsPendingSince !== undefined).length);
          for (const state of contactStates) agents.set({ state }, 0);
          const stands = new Map(serials.agents.map(({ name, state }) => [name, state]));
          for (const record of records)
            agents.inc({ state: contactState(record, stands.get(record.name), now) });
          const ending = records
            .flatMap((record) => {
              const pin = activePin(record);
              return pin ? [{ agent: record.name, notAfter: pin.notAfter }] : [];
            })
            .sort((a, b) => a.notAfter - b.notAfter)
            .slice(0, mostAgents);
          for (const { agent, notAfter } of ending) agentExpiry.set({ agent }, days(notAfter));
          const [first] = ending;
          if (first) expiry.set({ certificate: 'agent' }, days(first.notAfter));
        },
      ),
      part(dispatcher.pairingRequests(), (requests) => pairing.set(requests.length)),
      part(dispatcher.locks(), (held) => locks.set(held.length)),
      part(okAsync(apiCertificate), (pem) => {
        if (pem !== undefined)
          expiry.set({ certificate: 'api' }, days(Date.parse(new X509Certificate(pem).validTo)));
      }),
    ]);
    failed.set(failures);
  };

  let looked: { readonly until: number; readonly done: Promise<void> } | undefined;
  return {
    /** Looks them up, unless that was done a moment ago. Scrapes that come together share one look. */
    refresh(dispatcher: Dispatcher, apiCertificate: string | undefined): Promise<void> {
      const now = performance.now();
      if (!looked || now >= looked.until)
        looked = { until: now + goodFor, done: look(dispatcher, apiCertificate) };
      return looked.done;
    },
  };
}
