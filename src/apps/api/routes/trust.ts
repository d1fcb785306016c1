import { z } from 'zod';
import { epochSeconds, ok, seconds, secondsOrNull } from '../document/schemas.js';
import { route, success } from '../route.js';

const dated = z.object({ serial: z.string(), not_after: seconds('Its end.') });

interface Dated {
  readonly serial: string;
  readonly notAfter: number;
}

const datedJson = ({ serial, notAfter }: Dated) => ({ serial, not_after: epochSeconds(notAfter) });

const caCertificate = dated
  .extend({
    subject: z.string(),
    fingerprint: z.string().meta({ description: 'SHA-256 of the certificate.' }),
  })
  .meta({ id: 'CaCertificate' });

const caJson = ({
  subject,
  fingerprint,
  ...certificate
}: Dated & { subject: string; fingerprint: string }) => ({
  ...datedJson(certificate),
  subject,
  fingerprint,
});

export const getCertificates = route({
  method: 'get',
  path: '/v1/certificates',
  id: 'getCertificates',
  tag: 'trust',
  summary: 'The certificates in force, and when they end',
  permission: { action: 'certificates', askedBy: 'route' },
  input: {},
  examples: { all: { summary: 'All of them' } },
  answers: {
    200: {
      description: 'Of the CA, of this dispatcher, of its agents.',
      schema: z.object({
        ok,
        ca: caCertificate,
        previous_ca: caCertificate.optional().meta({ description: 'While it is being replaced.' }),
        dispatcher: dated.extend({
          next: dated.optional().meta({ description: 'Announced to agents, not yet in use.' }),
          previous: dated.optional().meta({ description: 'In use before, until the overlap ends.' }),
        }),
        agents: z.array(
          dated.extend({ name: z.string(), state: z.enum(['active', 'issued', 'revoked', 'expired']) }),
        ),
      }),
      examples: {
        one: {
          ok: true,
          ca: {
            serial: '4f00ab',
            not_after: 2_095_000_000,
            subject: 'ctrl-exec CA',
            fingerprint: 'AB:CD:EF:01:23:45:67:89',
          },
          dispatcher: { serial: '3b1c9d', not_after: 1_811_536_000 },
          agents: [{ name: 'web-01', serial: '5a3f0c', not_after: 1_811_536_000, state: 'active' }],
        },
      },
    },
  },
  errors: ['ca_missing', 'identity_missing', 'store_failed'],
  handle: ({ dispatcher }) =>
    dispatcher.certificates().map(({ ca, previousCa, dispatcher: own, agents }) =>
      success(200, {
        ca: caJson(ca),
        ...(previousCa && { previous_ca: caJson(previousCa) }),
        dispatcher: {
          ...datedJson(own),
          ...(own.next && { next: datedJson(own.next) }),
          ...(own.previous && { previous: datedJson(own.previous) }),
        },
        agents: agents.map(({ name, state, ...certificate }) => ({ name, state, ...datedJson(certificate) })),
      }),
    ),
});

export const getSerialStatus = route({
  method: 'get',
  path: '/v1/serial-status',
  id: 'getSerialStatus',
  tag: 'trust',
  summary: "The dispatcher's serials, and how each agent stands to them",
  permission: { action: 'serial-status', askedBy: 'route' },
  input: {},
  examples: { all: { summary: 'All agents' } },
  answers: {
    200: {
      description:
        '`pending`: it has yet to be told of a new one, or is a legacy agent that has stored it and has not been seen to use it. `stale`: it missed that while there was time.',
      schema: z.object({
        ok,
        current: z.string(),
        not_after: seconds('End of the certificate in use.'),
        next: z.string().nullable().meta({ description: 'Announced, not yet in use.' }),
        previous: z.string().nullable(),
        overlap_ends_at: z.int().nullable().meta({
          description: 'When the previous one is given up. Seconds since 1970.',
        }),
        agents: z.array(
          z.object({
            name: z.string(),
            state: z.enum(['current', 'pending', 'stale']),
            serials: z.array(z.string()).meta({ description: 'Of this dispatcher, that the agent trusts.' }),
            last_contact_at: z.int().nullable(),
            revocations_pending_since: z.int().nullable().meta({
              description: 'It has not acknowledged a revocation that was made then. Seconds since 1970.',
            }),
          }),
        ),
      }),
      examples: {
        one: {
          ok: true,
          current: '3b1c9d',
          not_after: 1_811_536_000,
          next: null,
          previous: null,
          overlap_ends_at: null,
          agents: [
            {
              name: 'web-01',
              state: 'current',
              serials: ['3b1c9d'],
              last_contact_at: 1_780_000_500,
              revocations_pending_since: null,
            },
          ],
        },
      },
    },
  },
  errors: ['ca_missing', 'identity_missing', 'store_failed'],
  handle: ({ dispatcher }) =>
    dispatcher.serialStatus().map(({ current, notAfter, next, previous, overlapEnds, agents }) =>
      success(200, {
        current,
        not_after: epochSeconds(notAfter),
        next: next ?? null,
        previous: previous ?? null,
        overlap_ends_at: secondsOrNull(overlapEnds),
        agents: agents.map(({ name, state, serials, lastContact, revocationsPendingSince }) => ({
          name,
          state,
          serials: [...serials],
          last_contact_at: secondsOrNull(lastContact),
          revocations_pending_since: secondsOrNull(revocationsPendingSince),
        })),
      }),
    ),
});

export const listLocks = route({
  method: 'get',
  path: '/v1/locks',
  id: 'listLocks',
  tag: 'running',
  summary: 'Locks: what runs where, or may',
  permission: { action: 'locks', askedBy: 'route' },
  input: {},
  examples: { all: { summary: 'All of them' } },
  answers: {
    200: {
      description: 'By host, then script.',
      schema: z.object({
        ok,
        locks: z.array(
          z.object({
            host: z.string(),
            script: z.string(),
            reqid: z.string(),
            since: seconds('When it was taken.'),
          }),
        ),
      }),
      examples: {
        one: {
          ok: true,
          locks: [{ host: 'web-01', script: 'backup', reqid: 'eab1731a91c588ee', since: 1_780_000_000 }],
        },
      },
    },
  },
  errors: ['store_failed'],
  handle: ({ dispatcher }) =>
    dispatcher.locks().map((locks) =>
      success(200, {
        locks: locks.map(({ host, script, runId, since }) => ({
          host,
          script,
          reqid: runId,
          since: epochSeconds(since.getTime()),
        })),
      }),
    ),
});
