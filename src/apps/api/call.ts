import type { Request, RequestHandler, Response } from 'express';
import { answerJson, answerText, refuse } from './answers/answer.js';
import { eventStream } from './answers/event-stream.js';
import { refusalOf } from './answers/refusals.js';
import { inputOf } from './input.js';
import type { Call, Input, Reply, Route } from './route.js';
import type { Admitted } from './serve/admission.js';

/** A signal that is aborted when the connection of an answer ends before the answer. */
function goneSignal(response: Response): AbortSignal {
  const gone = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) gone.abort();
  });
  return gone.signal;
}

/** What concerns answers that go on for long. */
interface Streaming {
  /** Milliseconds. */
  readonly heartbeat: number;
  readonly ending: AbortSignal;
}

const callOf = (
  input: Input,
  { dispatcher, asking, refusalOf }: Pick<Admitted, 'dispatcher' | 'asking' | 'refusalOf'>,
  request: Request,
  response: Response,
  { heartbeat, ending }: Streaming,
): Call => ({
  ...input,
  dispatcher,
  asking,
  refusalOf,
  base: request.baseUrl,
  wantsEvents: request.accepts(['application/json', 'text/event-stream']) === 'text/event-stream',
  gone: goneSignal(response),
  ending,
  events: () => eventStream(response, heartbeat),
});

/** Answers a request of somebody who was admitted: form, the route's own question to the hook, work. */
export async function answer(
  route: Route,
  admitted: Admitted,
  request: Request,
  response: Response,
  streaming: Streaming,
): Promise<void> {
  const { dispatcher, asking, body, refusalOf } = admitted;
  const input = inputOf(route, request, body);
  if (input.isErr()) return refuse(response, refusalOf(input.error));
  const { permission } = route;
  if (typeof permission === 'object' && permission.askedBy === 'route') {
    const subject = await permission.subject?.(input.value, dispatcher);
    const permitted = await dispatcher.authorise({ action: permission.action, ...subject }, asking);
    if (permitted.isErr()) return refuse(response, refusalOf(permitted.error));
  }
  const outcome = await route.handle(callOf(input.value, admitted, request, response, streaming));
  if (outcome.isErr()) return refuse(response, refusalOf(outcome.error));
  await send(response, outcome.value);
}

async function send(response: Response, reply: Reply): Promise<void> {
  if (reply === 'sent') return;
  const { status, body, type } = reply;
  if (type === undefined) await answerJson(response, status, body);
  else answerText(response, status, type, String(body));
}

/** A route that is open to all. */
export const openHandler =
  (route: Route, dispatcher: () => Admitted['dispatcher']): RequestHandler =>
  async (request, response) => {
    const asking: Admitted['asking'] = { caller: {}, withoutHook: 'deny' };
    const input = { params: {}, query: {}, headers: {}, body: {} };
    const outcome = await route.handle(
      callOf(
        input,
        { dispatcher: dispatcher(), asking, refusalOf: (error) => refusalOf(error, true) },
        request,
        response,
        {
          heartbeat: 0,
          ending: new AbortController().signal,
        },
      ),
    );
    if (outcome.isOk()) await send(response, outcome.value);
  };
