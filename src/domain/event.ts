/**
 * What happened, for whoever reads the log. `action` becomes `ACTION=` and each field a `KEY=value`
 * (wire-protocol 1.9). Never a token, a key or what a script printed.
 */
export interface LogEvent {
  readonly action: string;
  readonly level?: 'info' | 'warning' | 'error';
  readonly fields?: Readonly<Record<string, string | number | boolean | undefined>>;
}
