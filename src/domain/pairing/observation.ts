import { err, ok, type Result } from 'neverthrow';
import { type CtrlExecError, failure } from '../core/errors.js';
import type { AgentRecord } from '../trust/agent-record.js';
import { type StandingChange, worthKeeping } from '../trust/agent-standing.js';

/** What one answer of an agent shows. */
export interface Observation {
  /** The key that answered: SHA-256 of its SubjectPublicKeyInfo, lower-case hex. */
  readonly spkiSha256: string;
  /** Serial of the certificate that it answered with, canonical hex. */
  readonly serial: string;
  /** When it answered, epoch milliseconds. */
  readonly at: number;
  /** What else the answer shows. `speaks: 'unsigned'`: it had no signature. */
  readonly change?: Omit<StandingChange, 'lastContact'>;
  /** The tags that it reports. They replace those that are known as a whole. */
  readonly tags?: Readonly<Record<string, string>>;
}

/** Whether the key that answered has a pin that was issued and never seen. */
export function isFirstAnswer({ pins }: AgentRecord, { spkiSha256, serial }: Observation): boolean {
  // Over the same key a certificate may follow another: the serial tells them apart.
  const ofKey = pins.filter((pin) => pin.spkiSha256 === spkiSha256);
  return ofKey.some((pin) => pin.state === 'issued' && (ofKey.length === 1 || pin.serial === serial));
}

/** The record with what an answer shows; the very same record where that is nothing new. Its pins stay as they are. */
export function withObservation(
  record: AgentRecord,
  { at, change, tags = record.tags }: Observation,
): Result<AgentRecord, CtrlExecError<'unverified'>> {
  const { name, standing } = record;
  if (change?.speaks === 'unsigned' && standing.speaks === 'signed')
    return err(failure('unverified', signedBefore(name), { reason: signedBefore(name) }));
  const next = worthKeeping(standing, { ...change, lastContact: at });
  const sameTags = JSON.stringify(tags) === JSON.stringify(record.tags);
  return ok(next === undefined && sameTags ? record : { ...record, tags, standing: next ?? standing });
}

const signedBefore = (name: string): string =>
  `the answer is not signed, and ${name} has signed before: edit-agent ${name} --legacy, if it is a legacy agent again`;

/** Why nothing can be recorded of an answer: whoever gave it is not registered. */
export const nobodysKey = (): CtrlExecError<'agent_unknown'> =>
  failure('agent_unknown', 'no registered agent has the key that answered', { name: '' });
