// Compiled by `npm run types`, never run: what holds of dispatchers and agents.
import {
  type Dispatcher,
  type EventLog,
  type LogEvent,
  type OpenDispatcherOptions,
  openDispatcher,
  type PairingMode,
  type Ping,
  type Run,
  type RunRequest,
} from 'ctrl-exec';
import { type Agent, type OpenAgentOptions, openAgent, type ServingAgent } from 'ctrl-exec/agent';
import type { CtrlExecError } from 'ctrl-exec/errors';
import type { AgentItem, AuthHook, Clock, KeyStore, Registry } from 'ctrl-exec/ports';
import type { Result, ResultAsync } from 'neverthrow';
import { expectTypeOf } from 'vitest';
import { type Calls, maybe, number, type Table, text } from '../../src/domain/core/border.js';

declare const fleet: Dispatcher;
declare const registry: Registry;
declare const clock: Clock;
declare const hook: AuthHook;
declare const keyStore: KeyStore;

expectTypeOf(openDispatcher).returns.toEqualTypeOf<Promise<Dispatcher>>();
expectTypeOf(openAgent).returns.toEqualTypeOf<Promise<Agent>>();

// The place is exactly one of two, nothing is left to guess.
openDispatcher({ system: true });
openDispatcher({ home: './fleet', events: { emit: () => {} } });
openDispatcher({ home: './fleet', ports: { registry, clock } });
// @ts-expect-error no place
openDispatcher();
// @ts-expect-error no place
openDispatcher({ ports: { registry, clock } });
// @ts-expect-error two places
openDispatcher({ home: './fleet', system: true });
// @ts-expect-error no such option
openDispatcher({ system: true, house: './fleet' });
// @ts-expect-error no such port
openDispatcher({ system: true, ports: { register: registry } });
// @ts-expect-error a port of another kind
openDispatcher({ system: true, ports: { registry: clock } });
// @ts-expect-error half a port
openDispatcher({ system: true, ports: { clock: { now: () => 0 } } });
expectTypeOf<NonNullable<OpenDispatcherOptions['ports']>>().toHaveProperty('runStore');
expectTypeOf<NonNullable<OpenDispatcherOptions['ports']>>().not.toHaveProperty('settings');

// What depends on an agent's settings is a function of them.
openAgent({ system: true, ports: { hook: () => hook, keyStore: () => keyStore, clock } });
// @ts-expect-error a port without its settings
openAgent({ system: true, ports: { hook } });
expectTypeOf<NonNullable<OpenAgentOptions['ports']>>().not.toHaveProperty('registry');
declare const agentKeys: KeyStore<AgentItem>;
agentKeys.read(['agent-key', 'ca-certificate']);
// @ts-expect-error an item of the other role
agentKeys.read(['ca-key']);
// @ts-expect-error the store of the other role
openDispatcher({ system: true, ports: { keyStore: agentKeys } });

// Expected failures are values of the closed union.
expectTypeOf(fleet.run).parameter(0).toEqualTypeOf<RunRequest>();
expectTypeOf(fleet.run).returns.toEqualTypeOf<ResultAsync<Run, CtrlExecError>>();
expectTypeOf(fleet.ping({ hosts: [] })).resolves.toEqualTypeOf<Result<Ping, CtrlExecError>>();
// @ts-expect-error hosts are needed
fleet.run({ script: 'deploy' });
// @ts-expect-error a list
fleet.run({ hosts: 'web-01', script: 'deploy' });

// What is given is not to be changed.
expectTypeOf<Run['results']>().toMatchTypeOf<readonly unknown[]>();
expectTypeOf<Run['results']>().not.toMatchTypeOf<unknown[]>();

expectTypeOf<EventLog['emit']>().parameter(0).toEqualTypeOf<LogEvent>();

for (const disposable of [{} as Dispatcher, {} as Agent, {} as PairingMode, {} as ServingAgent])
  expectTypeOf(disposable).toMatchTypeOf<AsyncDisposable>();

// A member that is added to a type and not to its table of the border does not compile.
interface Request {
  readonly name: string;
  readonly port?: number;
}
const complete: Table<Request> = { name: text, port: maybe(number) };
expectTypeOf(complete).toEqualTypeOf<Table<Request>>();
// @ts-expect-error `port` is missing
({ name: text }) satisfies Table<Request>;
// @ts-expect-error a kind of another type
({ name: number, port: maybe(number) }) satisfies Table<Request>;
// @ts-expect-error what is needed cannot be left out
({ name: maybe(text), port: maybe(number) }) satisfies Table<Request>;
// @ts-expect-error a method without its arguments
({}) satisfies Calls<Pick<Dispatcher, 'ping'>>;
