import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatRotation, noRotation, parseRotation } from '../../../../src/domain/trust/rotation.js';
import type { Succession } from '../../../../src/domain/trust/succession.js';
import { failure, value } from '../../../contract/result.js';

const successions = fc.array(
  fc.record({
    old: fc.stringMatching(/^[1-9a-f][0-9a-f]{0,31}$/),
    new: fc.stringMatching(/^[1-9a-f][0-9a-f]{0,31}$/),
    newPem: fc.string({ maxLength: 50 }),
    at: fc.nat(),
    sig: fc.uint8Array({ maxLength: 80 }),
  }),
  { maxLength: 20 },
);
const time = fc.option(fc.nat(), { nil: undefined });

describe('the state of a rotation', () => {
  it('is read as it was written', () => {
    fc.assert(
      fc.property(successions, time, time, (steps, announcedAt, switchedAt) => {
        const state = { successions: steps, announcedAt, switchedAt };
        expect(value(parseRotation(formatRotation(state)))).toEqual(state);
      }),
    );
  });

  it('that is not there is that of no rotation', () => {
    expect(value(parseRotation(undefined))).toEqual(noRotation);
    expect(value(parseRotation(formatRotation(noRotation)))).toEqual(noRotation);
  });

  it('keeps the latest 256 steps', () => {
    const steps = Array.from(
      { length: 300 },
      (_, at): Succession => ({ old: 'a', new: 'b', newPem: '', at, sig: new Uint8Array() }),
    );
    const kept = value(parseRotation(formatRotation({ ...noRotation, successions: steps })));
    expect(kept.successions.map(({ at }) => at)).toEqual(
      Array.from({ length: 256 }, (_, index) => index + 44),
    );
  });

  it.each([
    ['no JSON', 'nonsense', ''],
    ['a list', '[]', ''],
    ['of a newer version', '{"format":2,"successions":[]}', 'newer'],
    ['without its steps', '{"format":1}', 'succession'],
    ['with a time that is none', '{"format":1,"successions":[],"switched_at":"now"}', 'time'],
    ['with a time that is no integer', '{"format":1,"successions":[],"announced_at":1.5}', 'time'],
    ['cut off', formatRotation(noRotation).slice(0, -5), ''],
    ['empty', '', ''],
  ])('that is %s is an error', (_, text, why) => {
    expect(failure(parseRotation(text))).toContain(why);
  });

  it('never throws, whatever the file holds', () => {
    fc.assert(fc.property(fc.string(), (text) => void parseRotation(text)));
    fc.assert(fc.property(fc.json(), (text) => void parseRotation(text)));
  });
});
