import { programPath } from '../domain/runs/interpreter.js';

/** What programs that an agent runs get of its environment: a safe PATH, HOME, and the locale and time zone of the daemon. */
export function programEnvironment(environment: NodeJS.ProcessEnv, home: string): Record<string, string> {
  const kept = Object.entries(environment).filter(([name]) => /^(LANG|LC_[A-Z]+|TZ)$/.test(name));
  const defined = kept.filter((entry): entry is [string, string] => entry[1] !== undefined);
  return { ...Object.fromEntries(defined), HOME: home, PATH: programPath };
}
