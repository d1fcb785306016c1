// Imports what its argument names and prints, as JSON, what that changed in the process.
import { createHook } from 'node:async_hooks';
import { createRequire, register } from 'node:module';

const [, , specifier = ''] = process.argv;
register('./hooks.mjs', import.meta.url);

/** What keeps a process alive, or would if it were not unreferenced; to import takes none of it. @type {string[]} */
const opened = [];
const lasting =
  /^(Timeout|Immediate|TCP|TLS|PIPE|UDP|TTY|PROCESS|SIGNAL|WORKER|FSEVENT|STATWATCHER|DNSCHANNEL)/;
createHook({
  init(_id, type) {
    if (lasting.test(type)) opened.push(type);
  },
}).enable();

/** @param {object} object */
const names = (object) => Reflect.ownKeys(object).map(String);
const intrinsics = {
  globalThis,
  Reflect,
  Object,
  Array,
  Promise,
  Function,
  Error,
  process,
  console,
  JSON,
  Math,
};

/** Everything that a module could have left behind. */
const look = () => ({
  ...Object.fromEntries(
    Object.entries(intrinsics).flatMap(([name, object]) => [
      [name, names(object)],
      [
        `${name}.prototype`,
        'prototype' in object && object.prototype instanceof Object ? names(object.prototype) : [],
      ],
    ]),
  ),
  'Object.prototype': names(Object.prototype),
  environment: Object.entries(process.env).map(([name, value]) => `${name}=${value}`),
  listeners: process.eventNames().flatMap((name) => Array(process.listenerCount(name)).fill(String(name))),
  resources: [...opened],
  place: [process.cwd(), process.title, String(process.umask())],
  'stack traces': [String(Error.stackTraceLimit), typeof Error.prepareStackTrace],
});

// The hooks have their own thread: once something was imported, that is not news.
await import('node:path');
// Node opens a channel of its own with it, which holds nobody up.
await import('node:dns');
const before = look();
const module = await import(specifier);
const after = look();

/** @param {readonly string[]} left @param {readonly string[]} right what is not in the other, as often as it is more */
const more = (left, right) => {
  const rest = [...right];
  return left.filter((each) => {
    const at = rest.indexOf(each);
    if (at >= 0) rest.splice(at, 1);
    return at < 0;
  });
};
/** @type {Record<string, readonly string[]>} */
const earlier = before;
const changes = Object.entries(after).flatMap(([what, now]) => {
  const was = earlier[what] ?? [];
  return [
    ...more(now, was).map((each) => `${what}: +${each}`),
    ...more(was, now).map((each) => `${what}: -${each}`),
  ];
});
const required = Object.keys(createRequire(import.meta.url).cache);
process.stdout.write(JSON.stringify({ exports: Object.keys(module), changes, required }));
