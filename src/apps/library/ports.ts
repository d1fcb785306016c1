/**
 * The ports: what the package asks of its surroundings, each an interface with a contract that can be fulfilled by
 * an adapter of your own. `ctrl-exec/testing/contracts` has a suite for most of them.
 * @module
 */

export type { EventRecord } from '../../domain/core/event.js';
export type { FileFault } from '../../domain/core/file-trust.js';
export type { CertificateId } from '../../domain/deploy/certificate-id.js';
export type { Command } from '../../domain/deploy/command.js';
export type { ControlPlaneRequest } from '../../domain/deploy/control-plane-api.js';
export type { SubjectNames } from '../../domain/deploy/csr.js';
export type { CertificateDescription } from '../../domain/deploy/discovery.js';
export type { FileState } from '../../domain/deploy/plan.js';
export type { JoinTokenRecord } from '../../domain/pairing/join-token.js';
export type { Observation } from '../../domain/pairing/observation.js';
export type { Admission, PlaceLimits } from '../../domain/pairing/request.js';
export type { HeaderList, HttpAnswer } from '../../domain/protocol/http-message.js';
export type { RunningDigest } from '../../domain/protocol/output-stream.js';
export type { RunResult } from '../../domain/protocol/run-messages.js';
export type { HookContext, HookOutcome } from '../../domain/runs/auth-hook.js';
export type { Idempotency, RunRecord } from '../../domain/runs/record.js';
export type { AgentEndpoint, AgentRecord, KeyPin } from '../../domain/trust/agent-record.js';
export { type AgentStanding, type StandingChange, worthKeeping } from '../../domain/trust/agent-standing.js';
export type { BannedKey } from '../../domain/trust/banned-key.js';
export type { Certificate, CertificateProfile, Usage } from '../../domain/trust/certificate.js';
export type { IssuedCertificate } from '../../domain/trust/issued-certificate.js';
export type { RevocationList, RevokedCertificate } from '../../domain/trust/revocation-list.js';

export type * from '../../sdk/core/ports.js';
