import {
  type Argument,
  dictionaryOf,
  either,
  hasMembers,
  type Kind,
  listOf,
  mayAsk,
  maybe,
  number,
  record,
  signal,
  text,
} from '../../../domain/core/border.js';
import type { CallOptions, RunOptions } from './options.js';
import type {
  AgentBody,
  AgentsQuery,
  ApprovalBody,
  DiscoveryBody,
  PingBody,
  RunBody,
  RunsQuery,
} from './types.js';

const options = mayAsk(record<CallOptions>({ signal: maybe(signal) }));
const ofRun = mayAsk(record<RunOptions>({ signal: maybe(signal), idempotencyKey: maybe(text) }));
const reqid = { name: 'reqid', kind: text };
const id = { name: 'id', kind: text };
const name = { name: 'name', kind: text };

/** What the API itself judges, member by member: a copy, as JSON has it. What is no JSON throws, as a getter that throws. */
const object = <T>(): Kind<T> => ({
  form: 'an object',
  read: (value, field) => {
    const copy: unknown = hasMembers(value) ? JSON.parse(JSON.stringify(value) ?? 'null') : undefined;
    return hasMembers(copy) ? { value: copy } : { wrong: { field, reason: 'expected an object' } };
  },
});
const body = <T>(): Argument<T> => ({ name: 'request', kind: object<T>() as Argument<T>['kind'] });
const mayBody = <T>(): Argument<T | undefined> => ({
  name: 'request',
  kind: maybe(object<T>()) as Argument<T | undefined>['kind'],
});
const scalar = either(text, number);
/** A query goes into the address: nothing but text and numbers can stand there. */
const query = <T>(): Argument<T | undefined> => ({
  name: 'query',
  kind: maybe(
    dictionaryOf<unknown>({
      form: scalar.form,
      read: (value, field) => (value === undefined ? { value } : scalar.read(value, field)),
    }),
  ) as unknown as Argument<T | undefined>['kind'],
});

/** What every method of the client takes; compared with `ApiClient` where it is used. Bodies are judged by the API. */
export const clientCalls = {
  health: [options],
  ping: [body<PingBody>(), options],
  discover: [mayBody<DiscoveryBody>(), options],
  run: [body<RunBody>(), ofRun],
  submit: [body<RunBody>(), ofRun],
  stream: [body<RunBody>(), ofRun],
  retry: [
    reqid,
    mayAsk(
      record<RunOptions & { readonly timeout?: number }>({
        signal: maybe(signal),
        idempotencyKey: maybe(text),
        timeout: maybe(number),
      }),
    ),
  ],
  status: [reqid, options],
  runs: [query<RunsQuery>(), options],
  watch: [reqid, options],
  cancel: [
    reqid,
    mayAsk(
      record<CallOptions & { readonly hosts?: readonly string[] }>({
        signal: maybe(signal),
        hosts: maybe(listOf(text)),
      }),
    ),
  ],
  agents: [query<AgentsQuery>(), options],
  agent: [name, options],
  editAgent: [name, body<AgentBody>(), options],
  unpair: [name, options],
  pairingRequests: [options],
  approve: [id, mayBody<ApprovalBody>(), options],
  deny: [id, { name: 'reason', kind: maybe(text) }, options],
  certificates: [options],
  serialStatus: [options],
  locks: [options],
} as const;
