import { userInfo } from 'node:os';

/** Whom this process belongs to: `os:NAME`, or the number of a user without a name. */
export const osPrincipal = (): string => {
  try {
    return `os:${userInfo().username}`;
  } catch {
    return `os:${process.getuid?.() ?? 'unknown'}`;
  }
};
