import { userInfo } from 'node:os';

/**
 * The home directory that programs get: that of `environment`, else that of the account this process runs as (a systemd unit
 * without `User=` has no HOME), `/` where the system knows none.
 */
export function homeDirectory(environment: NodeJS.ProcessEnv): string {
  return environment['HOME'] || ownHome() || '/';
}

function ownHome(): string | undefined {
  try {
    return userInfo().homedir;
  } catch {
    return undefined;
  }
}
