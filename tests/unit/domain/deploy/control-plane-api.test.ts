import { describe, expect, it } from 'vitest';
import { certificatePem } from '../../../../src/domain/core/pem.js';
import {
  judgeCertificates,
  judgeWork,
  pullRequests,
} from '../../../../src/domain/deploy/control-plane-api.js';
import { failure, value } from '../../../contract/result.js';

const answer = (body: unknown) =>
  new TextEncoder().encode(typeof body === 'string' ? body : JSON.stringify(body));

describe("the control plane's API", () => {
  it('has a path for each call, ids escaped', () => {
    const calls = pullRequests('a/1');
    const heartbeat = { version: '1', hostname: 'h', os: 'linux', architecture: 'amd64', ip_address: '' };
    const report = {
      target_id: 't',
      expected_fingerprint: 'a',
      actual_fingerprint: 'b',
      verified: false,
      error: '',
    };
    expect([
      calls.heartbeat(heartbeat),
      calls.work(),
      calls.csr('mc-1', 'CSR'),
      calls.certificate('mc-1'),
      calls.jobStatus('j?1', { status: 'Failed', error: 'why' }),
      calls.verification('j#1', report),
      calls.discoveries({ agent_id: 'a/1' }),
    ]).toEqual([
      { method: 'POST', path: '/api/v1/agents/a%2F1/heartbeat', body: heartbeat },
      { method: 'GET', path: '/api/v1/agents/a%2F1/work' },
      {
        method: 'POST',
        path: '/api/v1/agents/a%2F1/csr',
        body: { csr_pem: 'CSR', certificate_id: 'mc-1' },
        later: true,
      },
      { method: 'GET', path: '/api/v1/agents/a%2F1/certificates/mc-1' },
      {
        method: 'POST',
        path: '/api/v1/agents/a%2F1/jobs/j%3F1/status',
        body: { status: 'Failed', error: 'why' },
      },
      { method: 'POST', path: '/api/v1/jobs/j%231/verify', body: report },
      { method: 'POST', path: '/api/v1/agents/a%2F1/discoveries', body: { agent_id: 'a/1' }, later: true },
    ]);
  });

  it.each([
    ['not JSON', '<html>'],
    ['half an object', '{"jobs":[{"id":"a"'],
    ['a list', '[]'],
    ['nothing', ''],
    ['jobs that are no list', '{"jobs":7}'],
    ['a name twice', '{"jobs":[],"jobs":null}'],
  ])('a list of jobs that is %s is not understood', (_what, body) => {
    expect(failure(judgeWork(answer(body))).code).toBe('protocol_violation');
  });

  it('a list of jobs is taken apart', () => {
    expect(value(judgeWork(answer({ jobs: [], count: 0 })))).toEqual({ jobs: [], left: 0 });
  });
});

describe('a certificate', () => {
  const [one, two] = [certificatePem(Uint8Array.of(1, 2, 3)), certificatePem(Uint8Array.of(4))];

  it('is every certificate, and nothing that stands between them', () => {
    const pem = `subject=x\r\n${one.replaceAll('\n', '\r\n')}junk\n${two}tail`;
    expect(value(judgeCertificates(answer({ certificate_pem: pem, version: 1 })))).toEqual([one, two]);
  });

  it.each([
    ['no text', { certificate_pem: 7 }],
    ['missing', {}],
    ['no PEM', { certificate_pem: 'hello' }],
    ['a key', { certificate_pem: '-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n' }],
    ['not base64', { certificate_pem: `${one}-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n` }],
    ['more than 20', { certificate_pem: one.repeat(21) }],
  ])('that is %s is not understood', (_what, body) => {
    expect(failure(judgeCertificates(answer(body))).code).toBe('protocol_violation');
  });
});
