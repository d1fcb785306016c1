import type { Agent } from '../../../sdk/agent/agent.js';
import { type ExitCode, report } from '../../command-line.js';
import { printImport } from '../../import-report.js';

export interface ImportStateOptions {
  readonly state?: string;
  readonly dispatcherSerial?: string;
  readonly acceptLegacyDispatchers?: boolean;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

export function importState(
  agent: Agent,
  directory: string,
  { json = false, ...options }: ImportStateOptions,
): Promise<ExitCode> {
  return agent.importState({ directory, ...options }).match((found) => printImport(found, json), report);
}
