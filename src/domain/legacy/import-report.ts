/** One thing that an import met. */
export interface ImportItem {
  /** What it is, for instance `CA` or `agent web-01`. */
  readonly what: string;
  /** One line: where it came from, or why it was not taken. */
  readonly detail: string;
}

/** What an import did, or with a dry run would do. */
export interface ImportReport {
  readonly dryRun: boolean;
  /** Written; empty: everything was here already. */
  readonly imported: readonly ImportItem[];
  /** Here already, and left as it is: the same, or something else that is not overwritten. */
  readonly kept: readonly ImportItem[];
  /** Found, and of no use; nothing of it was taken. */
  readonly skipped: readonly ImportItem[];
  /** What needs attention, one line each. */
  readonly warnings: readonly string[];
  /** What to do next, one line each. */
  readonly advice: readonly string[];
}

/** Lines of a report while it is being made. */
export interface ImportLines {
  readonly imported: ImportItem[];
  readonly kept: ImportItem[];
  readonly skipped: ImportItem[];
  readonly warnings: string[];
  readonly advice: string[];
}

export const importLines = (): ImportLines => ({
  imported: [],
  kept: [],
  skipped: [],
  warnings: [],
  advice: [],
});
