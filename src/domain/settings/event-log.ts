import { err, ok } from 'neverthrow';
import type { Field } from './fields.js';

/**
 * Where events go, as the key `event_log` says it.
 *
 * - `auto`: a daemon writes lines to standard error, any other command to syslog where there is one
 * - `syslog`, `syslog:/path`: lines to the system's log, or to the Unix datagram socket at that path
 * - `stderr`: lines on standard error
 * - `json`, `json:/path`: JSON on standard error, or appended to that file
 * - `none`: nowhere
 */
export type EventLogSetting =
  | { readonly kind: 'auto' | 'stderr' | 'none' }
  | { readonly kind: 'syslog'; readonly socket?: string }
  | { readonly kind: 'json'; readonly file?: string };

const plain = new Map<string, EventLogSetting>(
  (['auto', 'syslog', 'stderr', 'json', 'none'] as const).map((kind) => [kind, { kind }]),
);

/** The key `event_log`. */
export const eventLogSetting: Field<EventLogSetting> = (text) => {
  const setting = plain.get(text.toLowerCase());
  if (setting) return ok(setting);
  const [, kind, path] = /^(json|syslog):(\/.*[^/])$/i.exec(text) ?? [];
  if (kind === undefined || path === undefined)
    return err(
      'auto, syslog, stderr, json, none, json:/absolute/path of a file, or syslog:/path of a socket',
    );
  return ok(kind.toLowerCase() === 'json' ? { kind: 'json', file: path } : { kind: 'syslog', socket: path });
};
