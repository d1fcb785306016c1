import { describe, expect, it } from 'vitest';
import { resultJson, stateJson } from '../../../../src/apps/json/hosts.js';
import { failure } from '../../../../src/domain/core/errors.js';
import {
  bytesFrom,
  type HostState,
  hostStates,
  mayHaveRun,
} from '../../../../src/domain/runs/host-result.js';
import type { HostProgress } from '../../../../src/domain/runs/progress.js';

const host = (state: HostState, change: Partial<HostProgress> = {}): HostProgress => ({
  ...{ host: 'web-01', script: 'job', reqid: 'r1', state },
  ...{ exit: -1, stdout: '', stderr: '', rtt: 5, begunAt: 1, seenAt: 2, settledAt: 3 },
  ...change,
});

const common = { host: 'web-01', script: 'job', stdout: '', stderr: '', rtt: '5ms', reqid: 'r1' };

describe('a host of a run in JSON', () => {
  it('has its exit code where the script ended by itself, and -1 everywhere else', () => {
    expect(resultJson(host('succeeded', { exit: 0 }))).toEqual({ ...common, exit: 0, state: 'succeeded' });
    expect(resultJson(host('failed', { exit: 3 }))).toEqual({ ...common, exit: 3, state: 'failed' });
    for (const state of hostStates)
      if (state !== 'succeeded' && state !== 'failed')
        expect(resultJson(host(state, { exit: 126 }))).toMatchObject({ state, exit: -1 });
  });

  it.each<[HostState, string]>([
    ['running', 'still running'],
    ['queued', 'not delivered yet'],
    ['waiting', 'not begun yet'],
  ])('says of one that is %s why it has no exit code, where nothing else does', (state, error) => {
    expect(resultJson(host(state))).toEqual({ ...common, exit: -1, state, error });
    expect(resultJson(host(state, { error: 'read timeout after 10s' })).error).toBe('read timeout after 10s');
  });

  it('has its failure with a code and fields, without the message, and whether the script may have run', () => {
    for (const state of ['unknown', 'refused'] as const)
      expect(
        resultJson(host(state, { failure: failure('busy', 'secret', { script: 'job' }) })).failure,
      ).toEqual({
        ...{ code: 'busy', script: 'job' },
        may_have_run: mayHaveRun({ state }),
      });
  });

  it('has bytes that are no text, what was cut, what lives on and why its agent was not asked', () => {
    const bytes = bytesFrom('/w==');
    if (!bytes) throw new Error('that is no base64');
    const result = host('failed', {
      ...{ exit: 3, stdout: '\ufffd', stdoutBytes: bytes, stderr: '\ufffd', stderrBytes: bytes },
      ...{ truncated: { stdout: 9 }, leftBehind: { count: 1, pids: [7] } },
      ...{ reportedHostname: 'vm-7', fetchError: 'nothing listens' },
    });
    const more = {
      ...{ stdout_base64: '/w==', stderr_base64: '/w==', truncated: { stdout: 9 } },
      ...{ left_behind: { count: 1, pids: [7] }, fetch_error: 'nothing listens' },
    };
    expect(resultJson(result)).toMatchObject({ ...more, reported_hostname: 'vm-7' });
    expect(stateJson(result)).toMatchObject(more);
    // Times are for the store alone.
    for (const json of [resultJson(result), stateJson(result)])
      expect(Object.keys(json).filter((key) => /At$/.test(key))).toEqual([]);
  });
});

describe('a host of an async run in JSON', () => {
  it.each<[HostState, string]>([
    ['waiting', 'accepted'],
    ['queued', 'accepted'],
    ['running', 'running'],
    ['refused', 'error'],
    ['denied', 'error'],
    ['unreachable', 'error'],
    ['unknown', 'error'],
    ['expired', 'error'],
    ['skipped', 'error'],
  ])('that is %s has the status %s and no output', (state, status) => {
    expect(stateJson(host(state, { error: 'why' }))).toEqual({ status, state, error: 'why' });
    expect(stateJson(host(state))).toEqual({ status, state });
  });

  it.each<[HostState, string, number, number]>([
    ['succeeded', 'done', 0, 0],
    ['failed', 'done', 3, 3],
    ['cancelled', 'cancelled', 126, -1],
    ['lost', 'lost', -1, -1],
  ])('that is %s has the status %s and its output', (state, status, exit, told) => {
    expect(stateJson(host(state, { exit, stdout: 'out', stderr: 'err' }))).toEqual({
      ...{ status, state, exit: told, stdout: 'out', stderr: 'err' },
    });
  });

  it('is busy where the script runs there already, and expired where its agent forgot it', () => {
    const busy = host('refused', { failure: failure('busy', 'busy', { script: 'job' }) });
    const forgotten = host('unknown', { failure: failure('forgotten', 'forgotten', {}) });
    expect(stateJson(busy)).toMatchObject({ status: 'busy', failure: { code: 'busy', may_have_run: false } });
    expect(stateJson(forgotten)).toMatchObject({ status: 'expired', failure: { may_have_run: true } });
  });
});
