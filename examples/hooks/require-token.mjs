#!/usr/bin/env node
/**
 * require-token: an auth hook, for the dispatcher or for agents, that believes no user name without its token.
 *
 * The file `hook-tokens` beside this hook has a line for each token; without one there, /etc/ctrl-exec/hook-tokens, at an
 * agent /etc/ctrl-exec-agent/hook-tokens. It belongs to root or to the user who runs ctrl-exec; nobody else can write
 * to it, and only its group may read it.
 *
 *     # user  actions                    scrypt hash of the token
 *     alice   run,ping,discovery         scrypt:14:Qm9…:x7K…
 *     ci      run:deploy,run:restart     scrypt:14:vT0…:c2R…
 *
 * An action is the action's name, or with a script (`run:deploy`) that script alone; `*` is every action. A user may have
 * several lines, so that a new token can be handed out before the old one goes. A line is made by
 *
 *     require-token.mjs --add USER [ACTION,…] < file-with-the-token >> hook-tokens
 *
 * Exit: 0 allowed; 2 no such user, or not this token; 3 the token is right, but not for this; 1 anything else.
 */
import { randomBytes, scryptSync, timingSafeEqual } from 'node:crypto';
import { closeSync, constants, fstatSync, lstatSync, openSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** @typedef {{ user: string, actions: readonly string[], cost: number, salt: Buffer, key: Buffer }} Entry */

// What nobody thought of is a no.
process.exitCode = 1;

const usage = 64;
const defaultActions = 'run,ping,discovery';
const userPattern = /^[^\s\p{C}#][^\s\p{C}]{0,127}$/u;
const actionsPattern = /^(\*|[a-z]+(:[A-Za-z0-9_-]+)?(,[a-z]+(:[A-Za-z0-9_-]+)?)*)$/;
const hashPattern = /^scrypt:(1[4-7]):([A-Za-z0-9_-]{22}):([A-Za-z0-9_-]{43})$/;
const tokenPattern = /^\P{C}{16,1024}$/u;

/**
 * Never says anything of what came in.
 * @param {number} code
 * @param {string} why
 * @returns {never}
 */
function end(code, why) {
  process.stderr.write(`require-token: ${why}\n`);
  process.exit(code);
}

/** @returns {Promise<string>} */
async function standardInput() {
  if (process.stdin.isTTY) end(usage, 'standard input is a terminal, expected a file or a pipe');
  let text = '';
  for await (const chunk of process.stdin.setEncoding('utf8')) text += chunk;
  return text;
}

/**
 * @param {string} token
 * @param {Buffer} salt
 * @param {number} cost Binary logarithm of scrypt's N: 14 takes 16 MiB.
 */
const hash = (token, salt, cost) => scryptSync(token, salt, 32, { N: 2 ** cost, maxmem: 2 ** (cost + 11) });

/** @param {string} path */
function readTrusted(path) {
  const descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const status = fstatSync(descriptor);
    const expected = 'expected a file of root, or of the user who runs this, with mode 0600 or 0640';
    const owned = status.uid === 0 || status.uid === process.geteuid?.();
    if (!status.isFile() || !owned || (status.mode & 0o026) !== 0) end(1, `${path}: ${expected}`);
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(descriptor));
  } finally {
    closeSync(descriptor);
  }
}

function tokenFile() {
  const beside = join(dirname(process.argv[1] ?? ''), 'hook-tokens');
  if (lstatSync(beside, { throwIfNoEntry: false })) return beside;
  const home = process.env['ENVEXEC_DISPATCHER'] === undefined ? 'ctrl-exec' : 'ctrl-exec-agent';
  return `/etc/${home}/hook-tokens`;
}

/**
 * A mistake in any line: nobody is let in.
 * @param {string} path
 * @returns {Entry[]}
 */
function readEntries(path) {
  return readTrusted(path)
    .split('\n')
    .flatMap((line, index) => {
      const words = line.split(/[ \t]+/).filter((word) => word !== '');
      if (words.length === 0 || words[0]?.startsWith('#')) return [];
      const [user = '', actions = '', digest = '', ...more] = words;
      const [, cost, salt = '', key = ''] = hashPattern.exec(digest) ?? [];
      if (!userPattern.test(user) || !actionsPattern.test(actions) || cost === undefined || more.length > 0)
        end(1, `${path}:${index + 1}: expected user, actions, scrypt hash, as --add prints them`);
      const bytes = { salt: Buffer.from(salt, 'base64url'), key: Buffer.from(key, 'base64url') };
      return [{ user, actions: actions.split(','), cost: Number(cost), ...bytes }];
    });
}

/**
 * The lines that hold for this user and token. As many hashes are computed for a user who does not exist as for the one with
 * the most lines, and none is skipped after a match: the time tells nobody which names there are.
 * @param {readonly Entry[]} entries
 * @param {string} user
 * @param {string} token
 */
function entriesOf(entries, user, token) {
  const lines = new Map();
  for (const entry of entries) lines.set(entry.user, (lines.get(entry.user) ?? 0) + 1);
  const own = entries.filter((entry) => entry.user === user);
  const decoy = { salt: Buffer.alloc(16), key: randomBytes(32), cost: entries[0]?.cost ?? 14 };
  const decoys = Array(Math.max(1, ...lines.values()) - own.length).fill(decoy);
  for (const { salt, key, cost } of decoys) timingSafeEqual(hash(token, salt, cost), key);
  return own.filter(({ salt, key, cost }) => timingSafeEqual(hash(token, salt, cost), key));
}

/** Answers the question on standard input; returns only to allow. */
async function judge() {
  const { action, script, username, token } = JSON.parse(await standardInput());
  for (const value of [action, script, username, token])
    if (typeof value !== 'string') end(1, 'action, script, username and token are expected to be strings');
  const entries = readEntries(tokenFile());
  if (!tokenPattern.test(token)) end(2, 'no token, or one that cannot be right');
  const held = entriesOf(entries, username, token);
  if (held.length === 0) end(2, 'no such user, or not this token');
  const sufficient = ['*', action, `${action}:${script}`];
  if (!held.some(({ actions }) => actions.some((each) => sufficient.includes(each))))
    end(3, 'the token is right, but does not allow this');
}

/**
 * Prints a line for the file.
 * @param {readonly string[]} words
 */
async function add([user = '', actions = defaultActions, ...more]) {
  if (!userPattern.test(user) || !actionsPattern.test(actions) || more.length > 0)
    end(usage, `usage: require-token.mjs --add USER [ACTION,…] < token; default actions: ${defaultActions}`);
  const token = (await standardInput()).replace(/\r?\n$/, '');
  if (!tokenPattern.test(token))
    end(usage, 'the token is expected on standard input: one line of 16 to 1024 printable characters');
  const [salt, cost] = [randomBytes(16), 14];
  const digest = [cost, salt.toString('base64url'), hash(token, salt, cost).toString('base64url')].join(':');
  process.stdout.write(`${user} ${actions} scrypt:${digest}\n`);
}

const [option, ...words] = process.argv.slice(2);
try {
  if (option === '--add') await add(words);
  else if (option === undefined) await judge();
  else end(usage, 'usage: require-token.mjs [--add USER [ACTION,…]]');
  process.exitCode = 0;
} catch (error) {
  // Its message may quote the request, and with it the token.
  const { code, path } = /** @type {NodeJS.ErrnoException} */ (error);
  end(1, path === undefined ? 'the request or the file is not understood' : `${path}: ${code}`);
}
