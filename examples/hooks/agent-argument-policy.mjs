#!/usr/bin/env node
/**
 * agent-argument-policy: an auth hook for agents. A policy says for each script which arguments it takes, and which dispatchers
 * and users may run it; a script that the policy does not name is denied.
 *
 * The policy is the file `argument-policy.json` beside this hook; without one there, /etc/ctrl-exec-agent/argument-policy.json.
 * It belongs to root or to the user who runs the agent, and nobody else can write to it.
 *
 *     {
 *       "scripts": {
 *         "deploy": {
 *           "dispatchers": ["control"],
 *           "users": ["alice", "ci"],
 *           "arguments": [{ "pattern": "v[0-9]+" }, { "oneOf": ["web", "worker"], "optional": true }]
 *         },
 *         "restart": { "rest": { "oneOf": ["nginx", "app"], "atMost": 2 } },
 *         "uptime": {}
 *       }
 *     }
 *
 * `arguments` has a rule for each position, `rest` one for each argument after them; without either there are none.
 * `dispatchers` and `users` are lists of names, matched exactly; without them every trusted dispatcher, every user.
 * `oneOf` is matched exactly. `pattern` is a regular expression for the *whole* argument, which has at most `maxLength`
 * characters (256). What patterns let through by mistake is not accepted under one, whatever it says: control
 * characters, line ends among them; `..` as a part of a path; and, unless the pattern itself begins with `-`, an option.
 * A mistake anywhere in the policy, also a key that is not known, and nothing is allowed.
 *
 * Exit: 0 allowed; 3 not for this dispatcher or user; 1 anything else.
 */
import { closeSync, constants, fstatSync, lstatSync, openSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** @typedef {Record<string, unknown>} Fields */
/** @typedef {(argument: string) => boolean} Accepts */

// What nobody thought of is a no.
process.exitCode = 1;

/**
 * @param {number} code
 * @param {string} why
 * @returns {never}
 */
function end(code, why) {
  process.stderr.write(`agent-argument-policy: ${why}\n`);
  process.exit(code);
}

/** @param {string} where @param {string} expected @returns {never} */
const mistake = (where, expected) => end(1, `argument-policy.json: ${where}: expected ${expected}`);

/**
 * An object with these keys and no others.
 * @param {unknown} value
 * @param {string} where
 * @param {readonly string[]} keys
 * @returns {Fields}
 */
function fields(value, where, keys) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) mistake(where, 'an object');
  for (const key of Object.keys(value)) if (!keys.includes(key)) mistake(where, `one of ${keys.join(', ')}`);
  return /** @type {Fields} */ (value);
}

/**
 * @param {unknown} value
 * @param {string} where
 * @param {number} least
 * @param {number} byDefault
 */
function wholeNumber(value, where, least, byDefault) {
  if (value === undefined) return byDefault;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least)
    mistake(where, `a whole number from ${least}`);
  return value;
}

/**
 * @param {unknown} value
 * @param {string} where
 * @returns {readonly string[]}
 */
function strings(value, where) {
  if (!Array.isArray(value) || value.length === 0 || !value.every((each) => typeof each === 'string'))
    mistake(where, 'a list of strings');
  return value;
}

/**
 * @param {unknown} source
 * @param {number} maxLength
 * @param {string} where
 * @returns {Accepts}
 */
function patternRule(source, maxLength, where) {
  if (typeof source !== 'string') mistake(where, '"oneOf" or "pattern"');
  let whole;
  try {
    // Alone, too: `a)|(?:b` would be an expression only where it is wrapped, and not one for the whole argument.
    new RegExp(source, 'u');
    whole = new RegExp(`^(?:${source})$`, 'u');
  } catch {
    mistake(where, 'a regular expression');
  }
  const options = source.startsWith('-');
  return (argument) =>
    argument.length <= maxLength &&
    !/\p{Cc}|\p{Zl}|\p{Zp}/u.test(argument) &&
    !argument.split('/').includes('..') &&
    (options || !argument.startsWith('-')) &&
    whole.test(argument);
}

/**
 * @param {Fields} rule
 * @param {string} where
 * @returns {Accepts}
 */
function accepting({ oneOf, pattern, maxLength }, where) {
  if (oneOf === undefined) return patternRule(pattern, wholeNumber(maxLength, where, 1, 256), where);
  if (pattern !== undefined || maxLength !== undefined) mistake(where, 'either "oneOf" or "pattern"');
  const values = strings(oneOf, where);
  return (argument) => values.includes(argument);
}

/**
 * What the policy says about one script.
 * @param {unknown} value
 * @param {string} where
 */
function readScript(value, where) {
  const script = fields(value, where, ['dispatchers', 'users', 'arguments', 'rest']);
  const { arguments: positions = [], dispatchers, users, rest } = script;
  if (!Array.isArray(positions)) mistake(`${where}.arguments`, 'a list of rules');
  let required = 0;
  const rules = positions.map((position, index) => {
    const at = `${where}.arguments[${index}]`;
    const rule = fields(position, at, ['oneOf', 'pattern', 'maxLength', 'optional']);
    if (![undefined, true, false].includes(/** @type {boolean} */ (rule['optional'])))
      mistake(at, '"optional" to be true or false');
    if (rule['optional'] !== true) {
      if (required < index) mistake(at, 'only optional ones after an optional one');
      required += 1;
    }
    return accepting(rule, at);
  });
  if (rest !== undefined) {
    const rule = fields(rest, `${where}.rest`, ['oneOf', 'pattern', 'maxLength', 'atMost']);
    if (rule['atMost'] === undefined) mistake(`${where}.rest`, '"atMost"');
    const count = wholeNumber(rule['atMost'], `${where}.rest`, 1, 1);
    if (count > 10_000) mistake(`${where}.rest`, '"atMost" of at most 10000');
    rules.push(...Array(count).fill(accepting(rule, `${where}.rest`)));
  }
  return {
    dispatchers: dispatchers === undefined ? undefined : strings(dispatchers, `${where}.dispatchers`),
    users: users === undefined ? undefined : strings(users, `${where}.users`),
    /** @param {readonly string[]} args */
    accepts: (args) =>
      args.length >= required && args.every((argument, index) => rules[index]?.(argument) === true),
  };
}

/** @param {string} text */
function parsePolicy(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    mistake(/** @type {Error} */ (error).message, 'JSON');
  }
}

function readPolicy() {
  const beside = join(dirname(process.argv[1] ?? ''), 'argument-policy.json');
  const there = lstatSync(beside, { throwIfNoEntry: false }) !== undefined;
  const path = there ? beside : '/etc/ctrl-exec-agent/argument-policy.json';
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const status = fstatSync(descriptor);
    const owned = status.uid === 0 || status.uid === process.geteuid?.();
    if (!status.isFile() || !owned || (status.mode & 0o022) !== 0)
      end(1, `${path}: expected a file of root, or of the user who runs this, that nobody else can write to`);
    const text = new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(descriptor));
    const { scripts } = fields(parsePolicy(text), 'the policy', ['scripts']);
    const named = fields(scripts, 'scripts', Object.keys(scripts ?? {}));
    return new Map(Object.entries(named).map(([name, value]) => [name, readScript(value, name)]));
  } finally {
    closeSync(descriptor);
  }
}

/** Answers the question on standard input; returns only to allow. */
async function judge() {
  if (process.stdin.isTTY) end(1, 'standard input is a terminal, expected a file or a pipe');
  let text = '';
  for await (const chunk of process.stdin.setEncoding('utf8')) text += chunk;
  const { action, script, args, username } = JSON.parse(text);
  const dispatcher = process.env['ENVEXEC_DISPATCHER'];
  if (dispatcher === undefined) end(1, 'ENVEXEC_DISPATCHER is not set: this is a hook for agents');
  if (!Array.isArray(args) || !args.every((each) => typeof each === 'string'))
    end(1, 'args is not a list of strings');
  const policy = readPolicy().get(script);
  if (action !== 'run') end(1, 'only runs are decided here');
  if (policy === undefined) end(1, 'the policy does not name this script');
  if (policy.dispatchers?.includes(dispatcher) === false) end(3, 'not for this dispatcher');
  if (policy.users?.includes(username) === false) end(3, 'not for this user');
  if (!policy.accepts(args)) end(1, 'the policy does not allow these arguments');
}

try {
  await judge();
  process.exitCode = 0;
} catch (error) {
  const { code, path } = /** @type {NodeJS.ErrnoException} */ (error);
  end(1, path === undefined ? 'the request or the policy is not understood' : `${path}: ${code}`);
}
