import {
  callback,
  dictionaryOf,
  either,
  filled,
  flag,
  type Kind,
  maybe,
  number,
  readBy,
  record,
  type Table,
  text,
  type Wrong,
} from '../../domain/core/border.js';
import type { CtrlExecError } from '../../domain/core/errors.js';
import type { ActionFunction, Actions, DescribedAction } from '../../domain/runs/action.js';
import type { PullOptions } from '../../domain/settings/pull.js';
import expected from '../../sdk/core/ports.js';
import { invalidArgument } from '../../sdk/core/refusals.js';
import type { OpenAgentOptions, OpenDispatcherOptions, OpenPullAgentOptions } from './types.js';

interface PlaceMembers {
  readonly home?: string;
  readonly system?: boolean;
  readonly config?: string;
}

const place: Table<PlaceMembers> = { home: maybe(filled), system: maybe(flag), config: maybe(filled) };

const onePlace = 'expected exactly one of home (a directory) and system: true';

/** What is wrong with where it is to be opened. */
const whyNoPlace = ({ home, system }: PlaceMembers): Wrong | undefined => {
  const isSystem = system === true;
  if ((home === undefined) === isSystem) return undefined;
  return isSystem
    ? { field: 'system', reason: `there is home, too; ${onePlace}` }
    : { field: 'home', reason: `is missing; ${onePlace}` };
};

/** As their type: interfaces cannot have a union of two places. */
type Flat<T> = Omit<T, keyof PlaceMembers> & PlaceMembers;

const dispatcherOptions = record<Flat<OpenDispatcherOptions>>(
  {
    ...place,
    events: expected.dispatcher.events,
    ports: maybe(record(expected.dispatcher)),
  },
  whyNoPlace,
);

const action: Kind<ActionFunction | DescribedAction> = either(
  callback<ActionFunction>(),
  record<DescribedAction>({
    run: callback(),
    schema: maybe({ ...dictionaryOf<unknown>({ form: 'JSON', read: (value) => ({ value }) }) }),
    concurrency: maybe(number),
  }),
);

const agentOptions = record<Flat<OpenAgentOptions>>(
  {
    ...place,
    actions: maybe<Actions>(dictionaryOf(action)),
    jobSupervisor: maybe(filled),
    events: expected.dispatcher.events,
    ports: maybe(record(expected.agent)),
  },
  whyNoPlace,
);

const pullMembers: Table<PullOptions> = {
  server: maybe(text),
  apiKey: maybe(text),
  agentId: maybe(text),
  name: maybe(text),
  keyDir: maybe(text),
  discoveryDirs: maybe(text),
  caBundle: maybe(text),
  insecureSkipVerify: maybe(flag),
};

const pullAgentOptions = record<Flat<OpenPullAgentOptions>>(
  { ...place, ...pullMembers, events: expected.dispatcher.events, ports: maybe(record(expected.pull)) },
  whyNoPlace,
);

type Judged<T> = { readonly options: T; readonly error?: never } | { readonly error: CtrlExecError };

const judge =
  <T>(kind: Kind<Flat<T>>) =>
  (options: unknown): Judged<T> => {
    const read = readBy(kind, options);
    return read.wrong ? { error: invalidArgument(read.wrong) } : { options: read.value as T };
  };

/** The options of `openDispatcher`, or what is wrong with them. */
export const judgeDispatcherOptions = judge<OpenDispatcherOptions>(dispatcherOptions);
/** Those of `openAgent`. */
export const judgeAgentOptions = judge<OpenAgentOptions>(agentOptions);
/** Those of `openPullAgent`. */
export const judgePullOptions = judge<OpenPullAgentOptions>(pullAgentOptions);
