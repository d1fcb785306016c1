import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { judgeJobs, laneOf, type PullJob } from '../../../../src/domain/deploy/jobs.js';
import { failure, value } from '../../../contract/result.js';

const judge = (...jobs: readonly unknown[]) => value(judgeJobs({ jobs, count: jobs.length })).jobs;

const csr = {
  id: 'job-1',
  type: 'Issuance',
  status: 'AwaitingCSR',
  certificate_id: 'mc-1',
  common_name: 'www.example.com',
  sans: ['www.example.com'],
};
const deployment = {
  id: 'job-2',
  type: 'Deployment',
  status: 'Pending',
  certificate_id: 'mc-1',
  target_id: 't-1',
  target_type: 'NGINX',
  target_config: { cert_path: '/x' },
};

describe('the jobs of an answer', () => {
  it('a CSR is asked for by the status, a deployment by the type', () => {
    expect(judge(csr, deployment)).toEqual([
      {
        kind: 'job',
        job: {
          kind: 'csr',
          id: 'job-1',
          certificateId: 'mc-1',
          commonName: 'www.example.com',
          sans: ['www.example.com'],
        },
      },
      {
        kind: 'job',
        job: {
          kind: 'deployment',
          id: 'job-2',
          certificateId: 'mc-1',
          targetId: 't-1',
          targetType: 'NGINX',
          targetConfig: { cert_path: '/x' },
        },
      },
    ]);
    expect(judge({ ...deployment, status: 'AwaitingCSR' })).toMatchObject([{ job: { kind: 'csr' } }]);
  });

  it('members that are left out or null are nothing', () => {
    const bare = {
      id: 'j',
      type: 'Deployment',
      certificate_id: 'c',
      target_id: null,
      sans: null,
      status: '',
    };
    expect(judge(bare)).toMatchObject([{ job: { targetId: undefined, targetType: '' } }]);
    expect(value(judgeJobs({ jobs: null, count: 0 }))).toEqual({ jobs: [], left: 0 });
    expect(value(judgeJobs({})).jobs).toEqual([]);
  });

  it('anything else is ignored, with a reason', () => {
    expect(judge({ ...deployment, type: 'Revocation' })).toEqual([
      { kind: 'ignored', id: 'job-2', reason: 'type "Revocation" with status "Pending" is not known here' },
    ]);
    for (const entry of [
      null,
      7,
      'x',
      [],
      {},
      { ...csr, id: 7 },
      { ...csr, id: '..' },
      { ...csr, id: 'a b' },
    ])
      expect(judge(entry)).toMatchObject([{ kind: 'ignored', id: '' }]);
  });

  it('a job that cannot be understood is one that fails, and no other one with it', () => {
    const judged = judge({ ...csr, sans: 'x' }, { ...csr, certificate_id: 7 }, deployment, null, csr);
    expect(judged.map(({ kind }) => kind)).toEqual(['malformed', 'malformed', 'job', 'ignored', 'job']);
    expect(judged[0]).toMatchObject({ id: 'job-1', reason: expect.stringContaining('sans') });
  });

  it('an answer without a list is none', () => {
    expect(failure(judgeJobs({ jobs: {} }))).toContain('not a list');
    expect(failure(judgeJobs({ jobs: 'x' }))).toContain('not a list');
  });

  it('of very many jobs the first ten thousand are looked at, and the others are left for the next answer', () => {
    const jobs = Array.from({ length: 100_000 }, (_, each) => ({ ...csr, id: `j${each}` }));
    const judged = value(judgeJobs({ jobs }));
    expect([judged.jobs.length, judged.left]).toEqual([10_000, 90_000]);
    expect(judged.jobs.at(-1)).toMatchObject({ job: { id: 'j9999' } });
  });

  it('any JSON is judged, and every entry by itself', () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue(), { maxLength: 20 }), (jobs) => {
        const judged = judge(...jobs, csr);
        return judged.length === jobs.length + 1 && judged.at(-1)?.kind === 'job';
      }),
    );
  });
});

describe('lanes', () => {
  const laneOfEntry = (entry: object) => {
    const [judged] = judge(entry);
    if (judged?.kind !== 'job') throw new Error('a job is expected');
    return laneOf(judged.job satisfies PullJob);
  };

  it('deployments to one target share a lane, whatever their certificate', () => {
    const lane = laneOfEntry(deployment);
    expect(laneOfEntry({ ...deployment, id: 'other', certificate_id: 'mc-2', target_type: 'HAProxy' })).toBe(
      lane,
    );
    expect(laneOfEntry({ ...deployment, target_id: 't-2' })).not.toBe(lane);
  });

  it('a deployment without a target waits for no other', () => {
    expect(laneOfEntry({ ...deployment, target_id: null })).toBeUndefined();
    expect(laneOfEntry({ ...deployment, target_id: '' })).toBeUndefined();
  });

  it('CSRs for one certificate share a lane, with no deployment in it', () => {
    expect(laneOfEntry({ ...csr, id: 'other' })).toBe(laneOfEntry(csr));
    expect(laneOfEntry({ ...csr, certificate_id: 't-1' })).not.toBe(laneOfEntry(deployment));
  });
});
