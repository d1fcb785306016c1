import type { FileTrust } from '../../domain/core/file-trust.js';

/** Where an agent's configuration is found. */
export interface AgentPlace {
  readonly home: string;
  readonly stateDir: string;
  readonly configurationFile: string;
  /** Whether it is an error that the configuration file is not there. */
  readonly configurationRequired: boolean;
  /** How the configuration file is judged, and the rest where it does not say `file_trust`. */
  readonly fileTrust: FileTrust;
}

/** Bytes of a configuration file or allowlist that are read. */
export const maxFile = 4 * 1024 * 1024;
