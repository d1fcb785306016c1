import type { DispatcherSettings } from '../../domain/settings/dispatcher.js';
import type { DispatcherPorts } from '../core/ports.js';

export interface DispatcherContext extends DispatcherPorts {
  readonly settings: DispatcherSettings;
  /** The operating-system user who began this process, as runs record it: `os:NAME` or `os:uid:1234`. */
  readonly principal: string;
  /** Where the configuration is, and is written by `setupDispatcher`. */
  readonly configurationFile: string;
}
