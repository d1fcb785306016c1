/**
 * What happened, for whoever reads the log. `action` becomes `ACTION=` and each field a `KEY=value`
 * (wire-protocol 1.9). Never a token, a key or what a script printed.
 *
 * A field that is undefined is left out. `action`, and in JSON `level` and `time`, are the event's own: a field of that name
 * is left out too.
 */
export interface LogEvent {
  readonly action: string;
  readonly level?: 'info' | 'warning' | 'error';
  readonly fields?: Readonly<Record<string, string | number | boolean | undefined>>;
}
