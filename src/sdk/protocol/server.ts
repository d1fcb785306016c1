import { err, ok, type Result } from 'neverthrow';
import type { JsonObject } from '../../domain/core/decode.js';
import { parseJsonObject } from '../../domain/core/json.js';
import { type HttpAnswer, jsonAnswer } from '../../domain/protocol/http-message.js';
import type { RequestRefusal } from '../../domain/protocol/request-signature.js';
import type { Clock } from '../../ports/clock.js';
import type { Crypto } from '../../ports/crypto.js';
import type { IncomingRequest } from '../../ports/listener.js';
import type { Answers, Endpoint, Issue, Outcome, Peer, Refusal } from './endpoint.js';
import * as endpoints from './endpoints.js';
import type {
  Call,
  Caller,
  EndpointName,
  Guarantees,
  Handler,
  Handlers,
  ServerTrust,
  StrangerHandlers,
} from './handler.js';
import { type LegacyForm, legacyForms, legacyGuarantees } from './legacy/forms.js';
import { announceSerial } from './legacy/serial-script.js';
import {
  checkRequestBody,
  checkRequestHead,
  isUnsigned,
  signAnswer,
  type VerifiedHead,
} from './message-signing.js';
import { type StreamedAnswer, streamedAnswer } from './streams.js';
import { writeRefusal } from './writing.js';

type AnyEndpoint = Endpoint<unknown, Answers>;

/** What a request asks for. */
interface Asked {
  readonly name: EndpointName;
  readonly endpoint: AnyEndpoint;
  /** What its path says. */
  readonly inPath: JsonObject;
}

const routes = Object.entries(endpoints).map(([name, endpoint]) => {
  const [fixed = '', member] = endpoint.path.split(':');
  return { name: name as EndpointName, endpoint: endpoint as unknown as AnyEndpoint, fixed, member };
});

function routeOf({ method, path }: IncomingRequest): Asked | undefined {
  for (const { name, endpoint, fixed, member } of routes) {
    if (method !== endpoint.method || !path.startsWith(fixed)) continue;
    const rest = path.slice(fixed.length);
    if (member === undefined ? rest === '' : /^[A-Za-z0-9_-]+$/.test(rest))
      return { name, endpoint, inPath: member === undefined ? {} : { [member]: rest } };
  }
  return undefined;
}

/** Whoever signs its requests promises everything. */
const signedGuarantees: Guarantees = {
  atMostOnce: true,
  provesSerials: true,
  namesHosts: true,
  acceptsBusy: true,
  maxOutput: Number.POSITIVE_INFINITY,
};

/** Bytes of body that are read of a stranger. */
const maxOfStranger = endpoints.ping.maxRequest;

/** The status and the body of an answer, as whoever asked understands it. */
function rendered({ endpoint }: Asked, form: LegacyForm, given: Outcome<Answers> | Refusal): HttpAnswer {
  if ('refused' in given) return writeRefusal(given);
  const { outcome, ...said } = given;
  const name = form.instead?.[outcome] ?? outcome;
  const answer = endpoint.answers[name];
  if (!answer) throw new Error(`${endpoint.path} has no outcome ${name}`);
  const body = answer.codec.write(said);
  const shown = form.show ? form.show(body) : ok<JsonObject, Refusal>(body);
  return shown.match((fitted) => jsonAnswer(answer.status, fitted), writeRefusal);
}

/** One request whose caller is verified. */
interface Verified {
  readonly request: IncomingRequest;
  readonly asked: Asked;
  readonly peer: Peer;
  /** Undefined: a legacy dispatcher did not sign it. */
  readonly head: VerifiedHead | undefined;
  readonly bytes: Uint8Array;
}

/** Answers requests, each with a signature where there is a key for it (wire-protocol 1.2, 2.3). */
export function server(
  { crypto, clock }: { readonly crypto: Crypto; readonly clock: Clock },
  trust: ServerTrust,
): {
  serve(handlers: Handlers, strangers?: StrangerHandlers): (request: IncomingRequest) => Promise<HttpAnswer>;
} {
  const identify = ({ peer, path }: IncomingRequest, asked: Asked | undefined): Result<Peer, Refusal> =>
    trust.identify(peer, { path, endpoint: asked?.name }).map(({ id, certificate }) => {
      const { serial, spki } = certificate;
      return { id, certificate, serial, spki, address: peer.address, via: 'direct' };
    });

  const unverified = (peer: Peer, { path }: IncomingRequest, refusal: RequestRefusal): HttpAnswer => {
    trust.onUnverified(peer, path, refusal);
    return writeRefusal({ refused: 'unverified', error: refusal.error });
  };

  /** What is against a request without a valid signature; undefined: it is one of a legacy dispatcher, and may be served. */
  function againstUnsigned(
    peer: Peer,
    request: IncomingRequest,
    asked: Asked | undefined,
    refusal: RequestRefusal,
  ): RequestRefusal | undefined {
    // defence: unsigned-request-is-refused
    if (peer.id === undefined || refusal.error !== 'signature required') return refusal;
    const isLegacy =
      asked !== undefined && /* defence: unsigned-asks-legacy-routes-only */ asked.name in legacyForms;
    const why = isUnsigned(request)
      ? (trust.whyMustSign(peer) ?? (isLegacy ? undefined : 'only ours ask for this'))
      : 'it has a signature';
    return why === undefined ? undefined : { ...refusal, reason: `${refusal.reason}: ${why}` };
  }

  /**
   * Nothing of a request is read before its caller is identified and its signature holds, and nothing of its body is parsed before
   * the signature's digest holds over its bytes.
   */
  async function verify(request: IncomingRequest): Promise<Result<Verified, HttpAnswer>> {
    const asked = routeOf(request);
    const peer = identify(request, asked);
    if (peer.isErr()) return err(writeRefusal(peer.error));
    const who = peer.value;
    const head = checkRequestHead(crypto, request, {
      certificate: who.certificate,
      ownSpki: request.peer.presented.spki,
      now: clock.now(),
    });
    const against = (of: Peer) =>
      head.isErr() ? againstUnsigned(of, request, asked, head.error) : undefined;
    const refusal = against(who);
    if (refusal) return err(unverified(who, request, refusal));
    const limit =
      /* defence: stranger-sends-little */ asked && who.id !== undefined
        ? asked.endpoint.maxRequest
        : maxOfStranger;
    const body = await request.body(limit);
    if (body.isErr())
      return err(
        writeRefusal(
          body.error.code === 'too_large'
            ? { refused: 'too_large', error: `request body larger than ${body.error.limit} bytes` }
            : { refused: 'malformed', error: 'request body incomplete' },
        ),
      );
    const bytes = body.value;
    const whole = head.andThen((signed) => checkRequestBody(crypto, signed, bytes));
    if (head.isOk() && whole.isErr()) return err(unverified(who, request, whole.error));
    // The body took its time: what was revoked meanwhile is refused.
    const still = /* defence: caller-is-recognised-after-body */ identify(request, asked);
    if (still.isErr()) return err(writeRefusal(still.error));
    const since = against(still.value);
    if (since) return err(unverified(still.value, request, since));
    const signed = head.unwrapOr(undefined);
    const caller = callerOf(still.value, signed);
    if (caller) await trust.onVerified(caller, signed !== undefined);
    if (!asked) return err(writeRefusal({ refused: 'unknown', error: 'not found' }));
    return ok({ request, asked, peer: caller ?? still.value, head: signed, bytes });
  }

  const callerOf = (peer: Peer, head: VerifiedHead | undefined): Caller | undefined =>
    peer.id === undefined
      ? undefined
      : { ...peer, id: peer.id, guarantees: head ? signedGuarantees : legacyGuarantees };

  async function claim({ request, peer, head }: Verified): Promise<Refusal | undefined> {
    if (!head) return undefined;
    const refusal = await trust.claim(head);
    if (refusal?.refused === 'unverified') {
      const { detail = 'seen before' } = refusal;
      trust.onUnverified(peer, request.path, { error: 'replayed', reason: detail });
    }
    return refusal;
  }

  return {
    serve(handlers, strangers = {}) {
      async function answer(verified: Verified): Promise<HttpAnswer> {
        const { asked, bytes, head, peer, request } = verified;
        const { endpoint, inPath, name } = asked;
        const isStranger = peer.id === undefined;
        let claimed: ReturnType<typeof claim> | undefined;
        const once = () => {
          claimed ??= claim(verified);
          return claimed;
        };
        const changes = /* defence: list-needs-no-record */ endpoint.changes;
        const repeated = changes && !isStranger ? await once() : undefined;
        if (repeated) return writeRefusal(repeated);

        const form: LegacyForm = (!head && legacyForms[name]) || {};
        const parsed = endpoint.method === 'GET' ? ok(inPath) : parseJsonObject(bytes);
        const body = parsed.map((object) => form.read?.(object) ?? object).unwrapOr({});
        const read = endpoint.request.read(body);
        const isJson = parsed.isOk() || (read.isOk() && (!changes || isStranger));
        if (read.isErr() || !isJson) {
          const reason = read.isErr() ? read.error : 'not valid JSON';
          const issue: Issue = { kind: isJson ? 'form' : 'json', reason, body };
          const told = endpoint.malformed(issue);
          const { error } = ('result' in told ? told.result : told) as { readonly error: string };
          if (!isStranger)
            trust.onMalformed(peer as Caller, { path: endpoint.path, endpoint: name }, error, body);
          return rendered(asked, form, told);
        }

        let streamed: StreamedAnswer | undefined;
        let begun: (answer: HttpAnswer) => void = () => {};
        const opened = new Promise<HttpAnswer>((resolve) => {
          begun = resolve;
        });
        const stream = whoSigns(verified).map((signer) => (unfollowed: () => void) => {
          streamed = streamedAnswer({ clock, crypto }, signer, request, unfollowed);
          begun(streamed.answer);
          return streamed.sink;
        });
        const call: Call = { stream, once };
        const own = isStranger ? strangers[name] : handlers[name];
        if (!own) return writeRefusal({ refused: 'forbidden', error: 'forbidden' });
        const handler = own as unknown as Handler<AnyEndpoint, Peer>;
        const answered = async (): Promise<HttpAnswer> => {
          const announced =
            head || name !== 'run'
              ? undefined
              : await announceSerial(trust, handlers, peer as Caller, body, call);
          if (announced) return jsonAnswer(200, announced);
          const given = await handler(peer, read.value, call);
          if (!streamed) return rendered(asked, form, given);
          if ('refused' in given || given.outcome !== endpoint.streams) streamed.breakOff();
          else {
            const { outcome, ...said } = given;
            await streamed.end(endpoint.answers[outcome]?.codec.write(said) ?? {});
          }
          return streamed.answer;
        };
        return Promise.race([
          opened,
          answered().catch((error: unknown) => {
            if (!streamed) throw error;
            streamed.breakOff();
            trust.failed(error);
            return streamed.answer;
          }),
        ]);
      }

      return async (request) => {
        const verified = await verify(request);
        const given = verified.isOk() ? await answer(verified.value) : verified.error;
        const signer = trust.signerOf(request.peer.presented);
        // What streams is signed at its end.
        return signer && !given.stream ? signAnswer(crypto, signer, given, request, clock.now()) : given;
      };
    },
  };

  function whoSigns({ head, request }: Verified) {
    const signer = trust.signerOf(request.peer.presented);
    if (!head) return err('streamed runs need a signed request');
    if (request.httpVersion === '1.0') return err('streamed runs need HTTP/1.1');
    return signer ? ok(signer) : err('the end of a stream cannot be signed');
  }
}
