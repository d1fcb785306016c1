import { parseJsonObject } from '../../domain/core/json.js';
import type { HttpAnswer } from '../../domain/protocol/http-message.js';
import type { IncomingRequest } from '../../ports/listener.js';
import type { Answers, Endpoint, Outcome } from './endpoint.js';
import { writeOutcome } from './writing.js';

/** Who asks, as far as anybody can tell. */
export interface Asker {
  /** In its shortest form. */
  readonly address: string;
  /** What it asks for, as the log has it. */
  readonly step: string;
  /** Whether it understands what the endpoint says. */
  readonly says: boolean;
}

/** Why a message is not read. */
type Unread =
  | { readonly kind: 'invalid' | 'too_large'; readonly reason: string }
  /** It did not come whole. */
  | { readonly kind: 'broken'; readonly reason: string };

export interface AnonymousPort<A extends Answers> {
  readonly answers: A;
  /** What is answered where nothing is there to be asked. */
  readonly absent: Outcome<A>;
  /** Each endpoint, and who answers what it asks. */
  readonly routes: readonly Route<A>[];
  unread(why: Unread, from: Asker): Outcome<A>;
}

type Asked<R> = Pick<Endpoint<R, Answers>, 'method' | 'path' | 'says' | 'maxRequest' | 'request'>;

interface Route<A extends Answers> {
  readonly endpoint: Asked<unknown>;
  answer(request: unknown, from: Asker): Promise<Outcome<A>>;
}

export const route = <R, A extends Answers>(
  endpoint: Asked<R>,
  answer: (request: R, from: Asker) => Promise<Outcome<A>>,
) => ({ endpoint, answer }) as Route<A>;

/** Answers whoever asks over TLS 1.3 (wire-protocol 2.2). Nothing is signed: what is said vouches for itself. */
export function serveAnonymously<A extends Answers>(
  port: AnonymousPort<A>,
): (request: IncomingRequest) => Promise<HttpAnswer> {
  const outcomeOf = async (request: IncomingRequest): Promise<Outcome<A>> => {
    const { headers, method, path, peer } = request;
    const found = port.routes.find(({ endpoint }) => endpoint.method === method && endpoint.path === path);
    if (!found) return port.absent;
    const { endpoint } = found;
    const [header, word] = endpoint.says ?? [];
    const says = headers.some(
      ([name, value]) => name === header && value.split(',').some((each) => each.trim() === word),
    );
    const from = { address: peer.address, step: path, says };
    // defence: pairing-port-needs-tls-1-3
    if (peer.tlsVersion !== 'TLSv1.3')
      return port.unread({ kind: 'invalid', reason: 'TLS 1.3 is needed' }, from);
    const body = await request.body(endpoint.maxRequest);
    if (body.isErr()) {
      const { code, message: reason } = body.error;
      return port.unread({ kind: code === 'too_large' ? 'too_large' : 'broken', reason }, from);
    }
    const read = parseJsonObject(body.value).andThen((object) => endpoint.request.read(object));
    return read.match(
      (message) => found.answer(message, from),
      async (reason) => port.unread({ kind: 'invalid', reason }, from),
    );
  };
  return async (request) => writeOutcome(port.answers, await outcomeOf(request));
}
