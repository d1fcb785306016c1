const safePath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** What programs that an agent runs get of its environment: a safe PATH, HOME, and the locale and time zone of the daemon. */
export function programEnvironment(environment: NodeJS.ProcessEnv): Record<string, string> {
  const kept = Object.entries(environment).filter(([name]) => /^(HOME|LANG|LC_[A-Z]+|TZ)$/.test(name));
  const defined = kept.filter((entry): entry is [string, string] => entry[1] !== undefined);
  return { HOME: '/', ...Object.fromEntries(defined), PATH: safePath };
}
