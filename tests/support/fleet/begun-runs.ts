import { errAsync } from 'neverthrow';
import { jsonAnswer } from '../../../src/domain/protocol/http-message.js';
import type { ChannelError } from '../../../src/ports/channel.js';
import type { RunStart } from '../../../src/ports/run-store.js';
import type { DispatcherContext } from '../../../src/sdk/dispatcher/context.js';
import { value } from '../../contract/result.js';
import { interposed } from '../network/interposed.js';
import type { Answering } from './memory-agents.js';
import type { TestDispatcher } from './memory-fleet.js';

/** A run as somebody else begins it. */
export const otherRun = (host: string, script: string, change: Partial<RunStart> = {}): RunStart => ({
  reqid: 'f'.repeat(16),
  script,
  hosts: [{ host }],
  args: [],
  mode: 'sync',
  principal: 'os:other',
  username: 'other',
  sourceIp: '127.0.0.1',
  startedAt: 0,
  ...change,
});

/** Somebody else runs the script there, and waits for it. */
export async function holdLock({ context }: TestDispatcher, host: string, script: string): Promise<void> {
  value(await context.runStore.begin(otherRun(host, script), context.clock.now()));
}

/** `host:script` of each lock. */
export const locksOf = async ({ context }: TestDispatcher): Promise<readonly string[]> =>
  value(await context.runStore.locks(context.clock.now())).map(({ host, script }) => `${host}:${script}`);

/** What an agent that can settle says of a run; undefined: it is one that cannot, and keeps no records. */
export type Said = (reqid: string) => object | undefined;

/** An agent that answers `/run` so, and questions about runs as its features have it. */
export const settling =
  (run: Answering, said: Said = () => undefined): Answering =>
  (request) => {
    const { path, body } = request;
    if (path === '/run') return run(request);
    const reqid = String(body['reqid'] ?? path.replace('/result/', ''));
    const record = said(reqid);
    if (path === '/capabilities')
      return jsonAnswer(200, { status: 'ok', features: record ? ['settle'] : [], scripts: [] });
    return record ? jsonAnswer(200, { reqid, ...record }) : jsonAnswer(404, { status: 'unknown', reqid });
  };

/** The next request to run something ends so at the transport, before or after it was sent; all else travels as ever. */
export function endingOnce(
  context: DispatcherContext,
  error: ChannelError,
  when: 'before' | 'after' = 'after',
): DispatcherContext {
  let due = true;
  const channel = interposed(context.channel, {
    exchange(_target, { path }, send) {
      if (path !== '/run' || !due) return send();
      due = false;
      return errAsync({ ...error, sent: when === 'after' });
    },
  });
  return { ...context, channel };
}
