import { errAsync, okAsync, type ResultAsync } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import type { Dispatcher } from '../../../sdk/dispatcher/dispatcher.js';
import type { ApiDocument } from '../document/openapi.js';
import { epochSeconds } from '../document/schemas.js';
import type { Call } from '../route.js';

/** Milliseconds after which agents that have not answered are left out. */
const patience = 10_000;

interface Names {
  readonly hosts: readonly string[];
  readonly scripts: readonly string[];
}

/** The names of this fleet; none where the caller may not ask for them. */
function namesOf(
  dispatcher: Dispatcher,
  asking: Call['asking'],
  gone: AbortSignal,
): ResultAsync<Names, CtrlExecError> {
  const signal = AbortSignal.any([gone, AbortSignal.timeout(patience)]);
  return dispatcher
    .discover({ ...asking, signal })
    .map(({ hosts }) => ({
      hosts: hosts.map(({ host }) => host),
      scripts: [
        ...new Set(
          hosts.flatMap((each) => (each.status === 'ok' ? each.scripts : [])).map(({ name }) => name),
        ),
      ].sort(),
    }))
    .orElse((error) => (error.code === 'denied' ? okAsync({ hosts: [], scripts: [] }) : errAsync(error)));
}

/** The document with `enum`s of the registered hosts and the scripts seen on those that answer. */
export const liveDocument = (
  document: ApiDocument,
  dispatcher: Dispatcher,
  asking: Call['asking'],
  gone: AbortSignal,
): ResultAsync<ApiDocument, CtrlExecError> =>
  namesOf(dispatcher, asking, gone).map(({ hosts, scripts }) => {
    const { info, components } = document;
    const schemas = { ...components?.schemas };
    // An empty `enum` would allow nothing.
    for (const [id, names] of [
      ['HostArgument', hosts],
      ['ScriptArgument', scripts],
    ] as const)
      if (names.length > 0) schemas[id] = { ...schemas[id], enum: [...names] };
    return {
      ...document,
      info: { ...info, version: `${info.version}+${epochSeconds(Date.now())}` },
      components: { ...components, schemas },
    };
  });
