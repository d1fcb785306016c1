import { createServer, request as httpRequest, type IncomingHttpHeaders, type Server } from 'node:http';
import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import express from 'express';
import { expect } from 'vitest';
import { type ApiRouterOptions, createApiRouter } from '../../../src/apps/api/router.js';
import { apiRoutes } from '../../../src/apps/api/routes.js';
import { atEnd } from '../commands/commands.js';
import { listening } from '../network/raw-tls.js';

type Json = Record<string, unknown>;

/** With every object closed, so that an answer cannot have what the document does not know. */
function closed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(closed);
  if (typeof value !== 'object' || value === null) return value;
  const members = Object.fromEntries(Object.entries(value).map(([name, each]) => [name, closed(each)]));
  return members['type'] === 'object' && !('additionalProperties' in members)
    ? { ...members, additionalProperties: false }
    : members;
}

const noMetrics = async () => ({ contentType: 'text/plain', text: '' });

/** As the command has it, with metrics. */
const document = apiRoutes('1.0.0', noMetrics).describe('') as unknown as {
  paths: Record<string, Record<string, { responses: Record<string, { content?: Json }>; 'x-events'?: Json }>>;
};
// Its examples are data, not schemas, and may hold `type: object`.
const { paths, components } = closed(JSON.parse(JSON.stringify(document))) as Json & {
  components: Json;
};

const ajv = new Ajv2020({ strict: false, allErrors: true });
// @ts-expect-error its default export is typed for CommonJS
formats(ajv);
ajv.addSchema({ $id: 'document', paths, components });

const pointer = (part: string): string =>
  encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'));

function mustFit(where: readonly string[], data: unknown): void {
  const valid = ajv.validate({ $ref: `document#/${where.map(pointer).join('/')}` }, data);
  if (!valid)
    throw new Error(`not as documented at ${where.join(' ')}: ${ajv.errorsText()}\n${JSON.stringify(data)}`);
}

/** The documented path that an address is one of. */
const templateOf = (path: string): string | undefined =>
  Object.keys(document.paths)
    .sort((a, b) => a.split('{').length - b.split('{').length)
    .find((template) =>
      new RegExp(`^${template.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(path),
    );

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** Of a JSON answer. */
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it
  readonly json: any;
}

export interface SentEvent {
  readonly event: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it
  readonly data: any;
}

/** The events of a stream, without its comments. */
export const eventsIn = (text: string): SentEvent[] =>
  text
    .split('\n\n')
    .filter((block) => block.startsWith('event: '))
    .map((block) => {
      const [event = '', data = ''] = block.split('\n');
      return { event: event.slice('event: '.length), data: JSON.parse(data.slice('data: '.length)) };
    });

export interface Asked {
  /** An object is sent as JSON, a text or bytes as they are. */
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Throws unless an answer is one that the document knows. */
export function mustBeDocumented(method: string, path: string, answer: Answer): void {
  expect(answer.headers['x-request-id']).toMatch(/^[A-Za-z0-9._-]{1,64}$/);
  const template = templateOf(path.split('?')[0] ?? '');
  const operation = template === undefined ? undefined : document.paths[template]?.[method.toLowerCase()];
  const failure = ['components', 'schemas', 'Failure'];
  // Options are of the commands, members and parameters of the API.
  expect(answer.json?.detail ?? '').not.toMatch(/--[a-z]/);
  const type = answer.headers['content-type']?.split(';')[0] ?? '';
  if (template === undefined || operation === undefined) {
    if (type === 'application/json' && method !== 'HEAD') mustFit(failure, answer.json);
    return;
  }
  const response = operation.responses[answer.status];
  if (!response) throw new Error(`${method} ${template} answers ${answer.status}, which is not documented`);
  if (type === 'text/event-stream') {
    for (const { event, data } of eventsIn(answer.text))
      mustFit(['paths', template, method.toLowerCase(), 'x-events', event], data);
    return;
  }
  const where = [
    'paths',
    template,
    method.toLowerCase(),
    'responses',
    String(answer.status),
    'content',
    type,
  ];
  if (!response.content?.[type]) throw new Error(`${where.join(' ')} is not documented`);
  if (type === 'application/json') mustFit([...where, 'schema'], answer.json);
}

/** Starts a server on a port that the system chooses; it ends, and so do its connections, when the test does. */
export async function servedToTheEnd(server: Server): Promise<number> {
  const port = await listening(server);
  atEnd(
    () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  return port;
}

/** The API on a port of its own on loopback, mounted under `base`. */
export async function apiOver(
  dispatcher: ApiRouterOptions['dispatcher'],
  { base = '', ...options }: Partial<ApiRouterOptions> & { readonly base?: string } = {},
) {
  const unexpected: unknown[] = [];
  const app = express();
  app.disable('x-powered-by');
  const router = createApiRouter({
    dispatcher,
    onUnexpected: (error) => unexpected.push(error),
    ...options,
  });
  if (base === '') app.use(router);
  else app.use(base, router);
  const server = createServer(app);
  const port = await servedToTheEnd(server);

  /** Sends a request and gives the connection, and the answer when it is whole. */
  const open = (method: string, path: string, { body, headers = {} }: Asked = {}) => {
    const bytes =
      body === undefined || typeof body === 'string' || body instanceof Uint8Array
        ? body
        : JSON.stringify(body);
    const sent = httpRequest({
      host: '127.0.0.1',
      port,
      method,
      path: `${base}${path}`,
      headers: {
        ...(bytes !== undefined && {
          'content-type': 'application/json',
          ...(!('transfer-encoding' in headers) && { 'content-length': String(Buffer.byteLength(bytes)) }),
        }),
        ...headers,
      },
      agent: false,
    });
    let text = '';
    const answer = new Promise<Answer>((resolve, reject) => {
      sent.once('error', reject);
      sent.once('response', (response) => {
        response.setEncoding('utf8').on('data', (part: string) => {
          text += part;
        });
        response.once('error', reject);
        response.once('end', () => {
          const { statusCode: status = 0, headers: got } = response;
          const isJson = got['content-type'] === 'application/json' && text !== '';
          resolve({ status, headers: got, text, json: isJson ? JSON.parse(text) : undefined });
        });
      });
    });
    sent.end(bytes);
    return { request: sent, answer, soFar: () => text };
  };

  /** The answer to a request; it is checked that the document knows it. */
  const ask = async (method: string, path: string, asked: Asked = {}): Promise<Answer> => {
    const answer = await open(method, path, asked).answer;
    expect(unexpected).toEqual([]);
    mustBeDocumented(method, path, answer);
    return answer;
  };

  return {
    port,
    base,
    open,
    ask,
    unexpected,
    get: (path: string, headers?: Readonly<Record<string, string>>) =>
      ask('GET', path, headers && { headers }),
    post: (path: string, body?: unknown, headers?: Readonly<Record<string, string>>) =>
      ask('POST', path, { body, ...(headers && { headers }) }),
  };
}
