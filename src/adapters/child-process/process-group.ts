import { later } from './timer.js';

const signalGroup = (group: number, signal: NodeJS.Signals | 0): boolean => {
  try {
    process.kill(-group, signal);
    return true;
  } catch (error) {
    // EPERM: members are left, but they changed their user.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
};

/** SIGKILL to every member of the group. */
export const killGroup = (group: number): void => {
  signalGroup(group, 'SIGKILL');
};

const pollInterval = 50;

export interface GroupTermination {
  /** SIGTERM to the group now, SIGKILL to what is left of it `killAfter` later. Once; further calls do nothing. */
  begin(): void;
  /** The leader has ended and was reaped: from now on its number protects nobody. */
  leaderEnded(): void;
}

/**
 * Ends a process group. The kill outlives the leader, because its children may ignore SIGTERM; but a group whose members
 * are all gone gives its number back to the system, so once the leader is gone the group is watched, and left alone
 * as soon as it is empty.
 */
export const groupTermination = (group: number, killAfter: number): GroupTermination => {
  let begun = false;
  let ended = false;
  let watch: NodeJS.Timeout | undefined;
  let cancelKill: (() => void) | undefined;

  const stop = (): void => {
    cancelKill?.();
    clearInterval(watch);
  };
  const stopWhenEmpty = (): void => {
    if (!signalGroup(group, 0)) stop();
  };

  return {
    begin() {
      if (begun || ended) return;
      begun = true;
      signalGroup(group, 'SIGTERM');
      cancelKill = later(killAfter, () => {
        clearInterval(watch);
        killGroup(group);
      });
    },
    leaderEnded() {
      ended = true;
      if (!begun) return;
      stopWhenEmpty();
      if (signalGroup(group, 0)) watch = setInterval(stopWhenEmpty, pollInterval);
    },
  };
};
