import { describe, expect, it } from 'vitest';
import { countingRandom } from '../../src/adapters/memory/random.js';
import {
  firstWait,
  fraction,
  fractionBytes,
  nextWait,
  pollBackoff,
  pullIntervals,
} from '../../src/domain/deploy/schedule.js';

const hour = 3_600_000;
const day = 24 * hour;
const agents = 5000;
/** Heartbeats and polls of all agents in a second. */
const mean = agents / 60 + agents / 30;
const sigma = Math.sqrt(mean);

interface Outage {
  readonly from: number;
  readonly until: number;
}

/**
 * Adds the calls of one agent to `perSecond`: the decisions of the loop, its failures shared by heartbeats and polls, each call
 * answered at once.
 */
function callsOf(agent: number, outage: Outage, perSecond: Uint32Array): void {
  const random = countingRandom(`agent ${agent}`);
  const chance = () => fraction(random.bytes(fractionBytes));
  let failures = 0;
  let heartbeat = firstWait(pullIntervals.heartbeat, chance());
  let poll = firstWait(pullIntervals.poll, chance());
  /** The poll has waited for its interval, and waits once more because calls have failed. */
  let backedOff = false;
  for (;;) {
    const now = Math.min(heartbeat, poll);
    if (now >= day) return;
    if (now === poll && !backedOff && failures > 0) {
      backedOff = true;
      poll += pollBackoff(failures);
      continue;
    }
    perSecond[Math.floor(now / 1000)] = (perSecond[Math.floor(now / 1000)] ?? 0) + 1;
    failures = now >= outage.from && now < outage.until ? failures + 1 : 0;
    if (now === heartbeat) heartbeat += nextWait(pullIntervals.heartbeat, chance());
    else {
      backedOff = false;
      poll += nextWait(pullIntervals.poll, chance());
    }
  }
}

/** Seconds by how many calls they had, ten calls a line. */
function histogram(counts: Uint32Array): string {
  const bins = new Map<number, number>();
  for (const count of counts) {
    const bin = Math.floor(count / 10) * 10;
    bins.set(bin, (bins.get(bin) ?? 0) + 1);
  }
  const most = Math.max(...bins.values());
  return [...bins]
    .toSorted(([a], [b]) => a - b)
    .map(([bin, seconds]) => {
      const bar = '#'.repeat(Math.ceil((60 * seconds) / most));
      return `${String(bin).padStart(4)}–${String(bin + 9).padEnd(4)} ${String(seconds).padStart(6)} ${bar}`;
    })
    .join('\n');
}

describe(`${agents} pull agents for a day in virtual time, after they were all started together`, () => {
  const outage = { from: 12 * hour, until: 13 * hour };
  const perSecond = new Uint32Array(day / 1000);
  for (let agent = 0; agent < agents; agent += 1) callsOf(agent, outage, perSecond);
  const [first, down, up] = [60, outage.from / 1000, outage.until / 1000];

  it('calls in a second stay within six sigma of a Poisson process', () => {
    const steady = perSecond.subarray(first, down);
    console.log(
      `calls per second, mean ${mean}, sigma ${sigma.toFixed(1)}, whole day:\n${histogram(perSecond)}`,
    );
    expect(Math.max(...steady)).toBeLessThan(mean + 6 * sigma);
    expect(Math.min(...steady)).toBeGreaterThan(mean - 6 * sigma);
    const average = steady.reduce((sum, count) => sum + count, 0) / steady.length;
    expect(Math.abs(average - mean)).toBeLessThan(1);
  });

  it('an outage of an hour is followed by no more calls than there were before it', () => {
    expect(Math.max(...perSecond.subarray(down, up))).toBeLessThan(mean + 6 * sigma);
    expect(Math.max(...perSecond.subarray(up))).toBeLessThan(mean + 6 * sigma);
    expect(Math.min(...perSecond.subarray(up + 600))).toBeGreaterThan(mean - 6 * sigma);
  });
});
