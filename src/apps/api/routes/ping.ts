import { z } from 'zod';
import type { DiscoveredHost } from '../../../sdk/dispatcher/fleet/discovery.js';
import { discoveredJson, pingJson } from '../../json/hosts.js';
import { credentials, hostList, ok, revocationsPendingSince, rtt, tagMap } from '../document/schemas.js';
import { route, success } from '../route.js';

const failed = z
  .object({ host: z.string(), status: z.literal('error'), error: z.string(), rtt })
  .meta({ id: 'UnreachableHost', description: 'A host that gave no usable answer, and why.' });

const pinged = z
  .object({
    host: z.string(),
    status: z.literal('ok'),
    rtt,
    expiry: z.string().meta({
      description: "End of the agent's certificate.",
      example: 'Jun  7 16:28:00 2027 GMT',
    }),
    version: z.string(),
    reported_hostname: z.string().optional(),
    problems: z
      .array(z.string())
      .optional()
      .meta({ description: 'What is wrong on the host, in the words of its agent.' }),
    revocations_pending_since: revocationsPendingSince.optional(),
  })
  .meta({ id: 'PingedHost' });

export const ping = route({
  method: 'post',
  path: '/ping',
  id: 'ping',
  tag: 'agents',
  summary: 'A mutual TLS round trip to every host',
  description: 'A host that fails is reported inline. Every host appears once, in the order of the request.',
  permission: { action: 'ping', askedBy: 'use case' },
  input: { body: z.object({ hosts: hostList, ...credentials }) },
  examples: { two: { summary: 'Two agents', body: { hosts: ['web-01', 'web-02'] } } },
  answers: {
    200: {
      description: 'What every host answered.',
      schema: z.object({ ok, results: z.array(z.union([pinged, failed])) }),
      examples: {
        oneDown: {
          ok: true,
          results: [
            {
              host: 'web-01',
              status: 'ok',
              rtt: '12ms',
              expiry: 'Jun  7 16:28:00 2027 GMT',
              version: '0.13.0',
            },
            { host: 'web-02', status: 'error', error: 'nothing listens on 10.0.0.2:7443', rtt: '1ms' },
          ],
        },
      },
    },
  },
  errors: ['invalid_argument', 'identity_missing', 'store_failed'],
  handle: ({ dispatcher, asking, body: { hosts }, gone }) =>
    dispatcher
      .ping({ hosts, ...asking, signal: gone })
      .map(({ results }) => success(200, { results: results.map(pingJson) })),
});

const script = z
  .object({
    name: z.string(),
    path: z.string(),
    executable: z.boolean(),
    profile: z.string().optional(),
    schema: z
      .record(z.string(), z.unknown())
      .optional()
      .meta({ description: 'The sidecar of the script, as it stands on the agent.' }),
    schema_version: z.string().optional(),
  })
  .meta({ id: 'AdvertisedScript' });

const discovered = z
  .object({
    host: z.string(),
    status: z.literal('ok'),
    version: z.string(),
    rtt,
    tags: tagMap,
    scripts: z.array(script).meta({ description: 'Sorted by name.' }),
    reported_hostname: z.string().optional(),
    revocations_pending_since: revocationsPendingSince.optional(),
  })
  .meta({ id: 'DiscoveredHost' });

const discovery = {
  tag: 'agents',
  permission: { action: 'discovery', askedBy: 'use case' },
  answers: {
    200: {
      description: 'Every host by the name that it was asked by.',
      schema: z.object({ ok, hosts: z.record(z.string(), z.union([discovered, failed])) }),
      examples: {
        one: {
          ok: true,
          hosts: {
            'web-01': {
              host: 'web-01',
              status: 'ok',
              version: '0.13.0',
              rtt: '9ms',
              tags: { env: 'prod' },
              scripts: [{ name: 'backup', path: '/opt/scripts/backup.sh', executable: true }],
            },
          },
        },
      },
    },
  },
  errors: ['invalid_argument', 'identity_missing', 'store_failed'],
} as const;

const byHost = (hosts: readonly DiscoveredHost[]) =>
  success(200, { hosts: Object.fromEntries(hosts.map((each) => [each.host, discoveredJson(each)])) });

export const discoveryByPost = route({
  ...discovery,
  method: 'post',
  path: '/discovery',
  id: 'discoverHosts',
  summary: 'Scripts, tags and versions of hosts',
  description: 'Also refreshes the tags in the registry. Without `hosts`: every registered agent.',
  input: { body: z.object({ hosts: z.array(hostList.element).max(10_000).optional(), ...credentials }) },
  examples: { one: { summary: 'One agent', body: { hosts: ['web-01'] } } },
  handle: ({ dispatcher, asking, body: { hosts }, gone }) =>
    dispatcher
      .discover({ ...(hosts && { hosts }), ...asking, signal: gone })
      .map((found) => byHost(found.hosts)),
});

export const discoveryByGet = route({
  ...discovery,
  method: 'get',
  path: '/discovery',
  id: 'discover',
  summary: 'Scripts, tags and versions of every registered agent',
  description:
    'Some of them with `hosts`. A body as in the request by POST is taken as well, for clients of older versions.',
  input: {
    query: z.object({
      hosts: z.string().optional().meta({ description: 'Names, separated by commas: `web-01,web-02`.' }),
    }),
    body: z.object({ hosts: z.array(hostList.element).max(10_000).optional(), ...credentials }),
  },
  examples: {
    all: { summary: 'The whole registry' },
    some: { summary: 'Some agents', query: { hosts: 'web-01,web-02' } },
  },
  handle: ({ dispatcher, asking, query, body, gone }) => {
    const hosts = query.hosts?.split(',').map((host) => host.trim()) ?? body.hosts;
    return dispatcher
      .discover({ ...(hosts && { hosts }), ...asking, signal: gone })
      .map((found) => byHost(found.hosts));
  },
});
