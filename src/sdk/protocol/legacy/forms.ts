import { err, ok, type Result } from 'neverthrow';
import type { JsonObject } from '../../../domain/core/decode.js';
import {
  capabilitiesForLegacy,
  maxLegacyAnswer,
  recordForLegacy,
  runForLegacy,
} from '../../../domain/legacy/answer.js';
import { legacyArgumentText } from '../../../domain/legacy/arguments.js';
import type { Refusal } from '../endpoint.js';
import type { EndpointName, Guarantees } from '../handler.js';

/*
 * Dispatchers that do not sign (wire-protocol 1.2): what they may ask for, and how.
 */

/** What one endpoint is to a legacy dispatcher. Default: what it is to any. */
export interface LegacyForm {
  /** What is understood of its request. */
  read?(body: JsonObject): JsonObject;
  /** Outcomes that are told as another one. */
  readonly instead?: Readonly<Record<string, string>>;
  /** The body of an answer as it can take it. */
  show?(body: JsonObject): Result<JsonObject, Refusal>;
}

/** Whoever does not sign may ask for these. */
export const legacyForms: Readonly<Partial<Record<EndpointName, LegacyForm>>> = {
  ping: {},
  discovery: {
    show(body) {
      const fitted = capabilitiesForLegacy(body);
      const error = `more than ${maxLegacyAnswer} bytes: more scripts than a legacy dispatcher can take`;
      return fitted ? ok(fitted) : err({ refused: 'too_large', error });
    },
  },
  run: {
    read: ({ args, ...body }) => ({
      ...body,
      args: Array.isArray(args) ? args.map(legacyArgumentText) : args,
    }),
    show: (body) => ok(runForLegacy(body)),
  },
  result: { show: (body) => ok(recordForLegacy(body)) },
  serials: { read: ({ serial, action }) => ({ serial, action }) },
  renew: {},
  // Of the answer to this it looks at the status alone.
  renewed: { instead: { refused: 'conflict' } },
};

export const legacyGuarantees: Guarantees = {
  atMostOnce: false,
  provesSerials: false,
  namesHosts: false,
  acceptsBusy: false,
  maxOutput: maxLegacyAnswer,
};
