import { isReqid } from '../../domain/core/names.js';
import {
  absence,
  acknowledged,
  capabilities,
  caUpdate,
  identified,
  listUpdate,
  nothing,
  objection,
  pong,
  renewalAsk,
  renewalCsr,
  renewalEnd,
  serialChange,
} from '../../domain/protocol/agent-messages.js';
import {
  acceptedRun,
  busyRun,
  cancelState,
  endedRun,
  noRecord,
  runAsk,
  runningRun,
  runRecord,
  unknownRun,
  voidRun,
  whichRun,
} from '../../domain/protocol/run-messages.js';
import { endpoint, type Issue, type Refusal } from './endpoint.js';

/*
 * What a dispatcher can ask of an agent (wire-protocol 1.2, 2.3 to 2.5).
 */

const kib = 1024;
const mib = 1024 * kib;

/** Bytes of body that an agent reads of a request (wire-protocol 1.1). */
const maxRequest = mib;
/** Bytes of a message with a revocation list in it (wire-protocol 2.4). */
const maxList = 8 * mib;
/**
 * Bytes of an answer with the output of a run: two streams of 16 MiB, every byte escaped as `\u00xx`, and, because one of them
 * was no UTF-8, all of them as base64, too.
 */
const maxOutput = 240 * mib;

/** In the words of deployed agents. */
const invalid = ({ kind, reason }: Issue): string => (kind === 'json' ? 'invalid JSON' : reason);
const objected = (issue: Issue) => ({ outcome: 'refused', error: invalid(issue) }) as const;
const malformed = (issue: Issue): Refusal => ({ refused: 'malformed', error: issue.reason });

export const ping = endpoint({
  method: 'POST',
  path: '/ping',
  request: identified,
  answers: { pong: { status: 200, codec: pong } },
  malformed,
  maxRequest,
  maxAnswer: 64 * kib,
});

export const discovery = endpoint({
  method: 'GET',
  path: '/capabilities',
  request: nothing,
  answers: { capabilities: { status: 200, codec: capabilities } },
  malformed,
  maxRequest,
  maxAnswer: 8 * mib,
});

export const run = endpoint({
  method: 'POST',
  path: '/run',
  request: runAsk,
  answers: {
    ended: { status: 200, codec: endedRun },
    accepted: { status: 202, codec: acceptedRun },
    running: { status: 409, codec: runningRun },
    busy: { status: 409, codec: busyRun },
  },
  malformed: (issue) => {
    const { reqid } = issue.body;
    const known = typeof reqid === 'string' && isReqid(reqid) && { reqid };
    return { outcome: 'ended', result: { exit: -1, error: invalid(issue) }, ...known };
  },
  changes: true,
  streams: 'ended',
  maxRequest,
  output: true,
  maxAnswer: maxOutput,
});

export const result = endpoint({
  method: 'GET',
  path: '/result/:reqid',
  request: whichRun,
  answers: {
    known: { status: 200, codec: runRecord },
    unknown: { status: 404, codec: noRecord },
  },
  malformed: () => ({ refused: 'unknown', error: 'not found' }),
  maxRequest,
  output: true,
  maxAnswer: maxOutput,
});

export const settle = endpoint({
  method: 'POST',
  path: '/v2/settle',
  request: whichRun,
  answers: {
    known: { status: 200, codec: runRecord },
    void: { status: 200, codec: voidRun },
    unknown: { status: 200, codec: unknownRun },
  },
  malformed,
  changes: true,
  feature: 'settle',
  maxRequest,
  output: true,
  maxAnswer: maxOutput,
});

export const cancel = endpoint({
  method: 'POST',
  path: '/v2/cancel',
  request: whichRun,
  answers: {
    cancelling: { status: 200, codec: cancelState('cancelling') },
    unknown: { status: 404, codec: cancelState('unknown') },
    /** A legacy agent. */
    absent: { status: 404, codec: nothing },
    done: { status: 409, codec: cancelState('done') },
  },
  malformed,
  changes: true,
  feature: 'cancel',
  maxRequest,
  maxAnswer: 64 * kib,
});

/** Trusts or retires a serial of the dispatcher that asks. */
export const serials = endpoint({
  method: 'POST',
  path: '/rotate-serial',
  request: serialChange,
  answers: {
    ok: { status: 200, codec: acknowledged },
    refused: { status: 200, codec: objection },
    /** The list that came with it is not taken. */
    invalid: { status: 400, codec: objection },
    conflict: { status: 409, codec: objection },
    /** An agent older than 0.11 has no such endpoint. */
    absent: { status: 404, codec: absence },
  },
  malformed: objected,
  changes: true,
  maxRequest: maxList,
  maxAnswer: maxList,
});

/** Holds a revocation list from now on. A list only goes forward, and a full record of requests must not keep one away. */
export const list = endpoint({
  method: 'POST',
  path: '/v2/crl',
  request: listUpdate,
  answers: {
    ok: { status: 200, codec: acknowledged },
    invalid: { status: 400, codec: objection },
    conflict: { status: 409, codec: objection },
    failed: { status: 500, codec: objection },
  },
  malformed: (issue) => ({ outcome: 'invalid', error: issue.reason }),
  feature: 'crl',
  maxRequest: maxList,
  maxAnswer: maxList,
});

/** Accepts exactly these CAs from now on. */
export const authorities = endpoint({
  method: 'POST',
  path: '/v2/cas',
  request: caUpdate,
  answers: {
    ok: { status: 200, codec: acknowledged },
    invalid: { status: 400, codec: objection },
    conflict: { status: 409, codec: objection },
    failed: { status: 500, codec: objection },
  },
  malformed: (issue) => ({ outcome: 'invalid', error: issue.reason }),
  changes: true,
  feature: 'several-cas',
  maxRequest,
  maxAnswer: 64 * kib,
});

/** Asks for a CSR. */
export const renew = endpoint({
  method: 'POST',
  path: '/renew',
  request: renewalAsk,
  answers: {
    csr: { status: 200, codec: renewalCsr },
    refused: { status: 200, codec: objection },
  },
  malformed: objected,
  changes: true,
  maxRequest,
  maxAnswer: 64 * kib,
});

/** Brings the certificate. */
export const renewed = endpoint({
  method: 'POST',
  path: '/renew-complete',
  request: renewalEnd,
  answers: {
    ok: { status: 200, codec: acknowledged },
    refused: { status: 200, codec: objection },
    /** Legacy dispatchers look at the status alone. */
    conflict: { status: 409, codec: objection },
  },
  malformed: objected,
  changes: true,
  maxRequest,
  maxAnswer: 64 * kib,
});
