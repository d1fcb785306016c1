import type { SecureContextOptions } from 'node:tls';
import { err, ok, type ResultAsync, safeTry } from 'neverthrow';
import type { CtrlExecError } from '../../../domain/core/errors.js';
import type { DispatcherSettings } from '../../../domain/settings/dispatcher.js';
import type { Dispatcher } from '../../../sdk/dispatcher/dispatcher.js';
import { readCredentials } from './tls.js';

/** What a configuration makes of the API. */
export interface ApiState {
  readonly dispatcher: Dispatcher;
  readonly settings: DispatcherSettings;
  readonly warnings: readonly string[];
  /** Undefined: plain HTTP. */
  readonly tls: SecureContextOptions | undefined;
}

/** The state that a configuration makes, if everything that it needs is there: also the dispatcher's identity. */
export function loadState(dispatcher: Dispatcher): ResultAsync<ApiState, CtrlExecError> {
  return safeTry<ApiState, CtrlExecError>(async function* () {
    const { settings, warnings } = yield* dispatcher.configuration();
    const tls = yield* readCredentials(settings);
    yield* dispatcher.serialStatus();
    return ok({ dispatcher, settings, warnings, tls });
  }).orElse((error) => err(error));
}

const restartKeys = ['apiPort', 'apiBind', 'apiSocket', 'apiPlainHttp', 'eventLog'] as const;

/** What a reload leaves as it was, in the words of the configuration. */
export function needsRestart(former: ApiState, state: ApiState): readonly string[] {
  const changed = restartKeys.filter(
    (key) => JSON.stringify(former.settings[key]) !== JSON.stringify(state.settings[key]),
  );
  const names = changed.map((key) => key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`));
  return (former.tls === undefined) === (state.tls === undefined) ? names : [...names, 'api_cert'];
}
