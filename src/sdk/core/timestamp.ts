/** ISO 8601 UTC in whole seconds, as hooks and scripts are given it. */
export const timestamp = (now: number): string => `${new Date(now).toISOString().slice(0, 19)}Z`;
