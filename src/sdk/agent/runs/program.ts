import { utf8 } from '../../../domain/core/bytes.js';
import { maxLegacyAnswer } from '../../../domain/legacy/answer.js';
import type { Program } from '../../../ports/process-runner.js';
import { timestamp } from '../../core/timestamp.js';
import type { AgentContext } from '../context.js';
import type { AgentState } from '../state.js';
import type { CallingDispatcher } from '../trust/recognise.js';
import type { Ask } from './ask.js';

/** What is run for an ask, but for the path. */
export function programOf(
  { clock, environment }: AgentContext,
  { settings }: AgentState,
  caller: CallingDispatcher,
  { script, args, reqid, username, token, timeout }: Ask,
): Omit<Program, 'path'> {
  const input = {
    script: script.name,
    args,
    reqid: reqid ?? '',
    peer_ip: caller.address,
    username,
    token,
    dispatcher: caller.id,
    timestamp: timestamp(clock.now()),
  };
  return {
    args,
    stdin: utf8(JSON.stringify(input)),
    env: environment,
    stdinTimeout: settings.stdinTimeout * 1000,
    timeout,
    maxOutput: caller.unsigned ? Math.min(settings.maxOutput, maxLegacyAnswer) : settings.maxOutput,
  };
}
