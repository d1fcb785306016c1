import type { ImportItem, ImportReport } from '../domain/legacy/import-report.js';
import { type ExitCode, exitCodes, say } from './command-line.js';

/** Prints what an import did, one line a thing. Exit 1 when something could not be used: the rest was taken all the same. */
export function printImport(report: ImportReport, json: boolean): ExitCode {
  const { dryRun, imported, kept, skipped, warnings, advice } = report;
  if (json) say(JSON.stringify({ ok: 1, dry_run: dryRun, imported, kept, skipped, warnings, advice }));
  else {
    for (const line of [
      ...lines('imported', imported),
      ...lines('kept', kept),
      ...lines('skipped', skipped),
      ...warnings.map((text) => `warning   ${text}`),
      ...advice.map((text) => `next      ${text}`),
    ])
      say(line);
    if (imported.length === 0) say('Nothing to import: everything is here already');
    else if (dryRun) say('Dry run: nothing was written');
  }
  return skipped.length > 0 ? exitCodes.failed : exitCodes.ok;
}

const lines = (verdict: string, items: readonly ImportItem[]): readonly string[] =>
  items.map(({ what, detail }) => `${verdict.padEnd(10)}${what}: ${detail}`);
