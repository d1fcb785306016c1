import { errAsync, type ResultAsync } from 'neverthrow';
import { certificatePem } from '../../../domain/core/pem.js';
import {
  discoveryReport,
  type FoundCertificate,
  formatOf,
  maxCertificateFile,
  pemCertificates,
  type Scan,
} from '../../../domain/deploy/discovery.js';
import type { ControlPlaneError } from '../../../ports/control-plane.js';
import type { TreeEntry } from '../../../ports/file-tree.js';
import type { PullSession } from './session.js';

/** Beyond these a scan ends: they are more than a host has, and all of them are held in memory. */
const limits = { certificates: 50_000, errors: 1000 };

type Found = Extract<TreeEntry, { readonly kind: 'file' }>;

/** Looks through the directories, and reports what is there. Cut off by the signal, it reports nothing. */
export async function discover(session: PullSession, stop: AbortSignal): Promise<void> {
  const { context, events, settings } = session;
  const began = context.clock.monotonic();
  const certificates: FoundCertificate[] = [];
  const errors: string[] = [];
  const note = (error: string) => {
    if (errors.length < limits.errors) errors.push(error);
  };
  const walk = {
    wanted: (path: string) => formatOf(path) !== undefined,
    maxBytes: maxCertificateFile,
    signal: stop,
  };
  for await (const entry of context.tree.walk(settings.discoveryDirs, walk)) {
    if (entry.kind === 'failed') note(entry.reason);
    else certificatesIn(session, entry, certificates, note);
    if (certificates.length > limits.certificates) {
      certificates.length = limits.certificates;
      note(`there are more than ${limits.certificates} certificates: the others were not looked for`);
      break;
    }
  }
  if (stop.aborted) return;
  const duration = context.clock.monotonic() - began;
  const count = { certificates: certificates.length, errors: errors.length };
  events.emit({ action: 'discovery-scanned', fields: { ...count, ms: Math.round(duration) } });
  if (count.certificates === 0 && count.errors === 0) return;
  const scan = { directories: settings.discoveryDirs, certificates, errors, duration };
  await report(session, scan, stop).orTee(({ code, message: reason }) => {
    if (code !== 'aborted')
      events.emit({ action: 'discovery-report-failed', level: 'warning', fields: { reason } });
  });
}

function certificatesIn(
  { context }: PullSession,
  { path, bytes }: Found,
  found: FoundCertificate[],
  note: (error: string) => void,
): void {
  const format = formatOf(path);
  if (format === undefined) return;
  const ders = format === 'DER' ? [bytes] : pemCertificates(new TextDecoder('latin1').decode(bytes));
  for (const [index, der] of ders.entries()) {
    const described = der && context.crypto.describeCertificate(der);
    if (der && described?.isOk()) found.push({ ...described.value, pem: certificatePem(der), path, format });
    else
      note(`${path}: ${format === 'DER' ? 'not a certificate' : `certificate ${index + 1} cannot be read`}`);
  }
}

/** In one report, or, where the control plane says that this is too large, in several. */
function report(session: PullSession, scan: Scan, stop: AbortSignal): ResultAsync<void, ControlPlaneError> {
  const { api, settings } = session;
  const { certificates } = scan;
  return api.discoveries(discoveryReport(settings.agentId, scan), stop).orElse((error) => {
    const half = Math.ceil(certificates.length / 2);
    const isTooMuch = error.code === 'refused' && error.why === 'too_much';
    if (!isTooMuch || half === certificates.length) return errAsync(error);
    const first = { ...scan, certificates: certificates.slice(0, half) };
    const second = { ...scan, certificates: certificates.slice(half), errors: [] };
    return report(session, first, stop).andThen(() => report(session, second, stop));
  });
}
