/** `node keyed-run.mjs LIBRARY HOME KEY ARG [sync|async]`: runs `job` once by its key; one line when it is recorded, one with the answer. */
const [library = '', home, idempotencyKey, arg, mode = 'sync'] = process.argv.slice(2);
const { openDispatcher } = await import(library);
const fleet = await openDispatcher({ home });
/** @param {unknown} line */
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const request = {
  hosts: ['web-01', 'web-02'],
  script: 'job',
  args: [arg],
  idempotencyKey,
  caller: { username: 'ann', token: 't' },
  /** @param {string} reqid */
  onBegin: (reqid) => say({ reqid }),
};
say({ ready: true });
const outcome = await (mode === 'sync' ? fleet.run(request) : fleet.submit(request));
say(outcome.isOk() ? { answer: outcome.value } : { error: outcome.error });
await fleet.close();
