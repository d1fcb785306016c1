import { describe, expect, it } from 'vitest';
import { parseConfiguration } from '../../../../src/domain/core/configuration.js';
import { integer } from '../../../../src/domain/settings/fields.js';
import { settingsReader } from '../../../../src/domain/settings/reader.js';
import { failure, value } from '../../../contract/result.js';

const number = integer({ min: 1, max: 9 });
const readerOf = (text: string) =>
  settingsReader(value(parseConfiguration(text, '/h/x.conf')), '/other.conf');

describe('settingsReader', () => {
  it('gives the fallback for what is not set, also without a file', () => {
    const reader = settingsReader(undefined, '/h/x.conf');
    expect(reader.read('depth', number, 4)).toBe(4);
    expect(reader.isSet('depth')).toBe(false);
    expect(value(reader.finish(1, []))).toEqual({ settings: 1, warnings: [] });
  });

  it('names file, line, key, what was found and what is expected, for the first wrong line', () => {
    const reader = readerOf('depth = 3\nwidth = 0\nheight =');
    expect(reader.read('height', number, 1)).toBe(1);
    reader.read('width', number, 1);
    expect(reader.read('depth', number, 1)).toBe(3);
    expect(failure(reader.finish(0, []))).toEqual({
      code: 'config_invalid',
      message: '/h/x.conf:2: width is "0", expected a whole number from 1 to 9',
      file: '/h/x.conf',
      line: 2,
      reason: 'width is "0", expected a whole number from 1 to 9',
    });
  });

  it('says that a value is empty', () => {
    const reader = readerOf('height =');
    reader.read('height', number, 1);
    expect(failure(reader.finish(0, [])).message).toBe(
      '/h/x.conf:1: height is empty, expected a whole number from 1 to 9',
    );
  });

  it('warns of a key that nothing reads, with the closest that is read', () => {
    const reader = readerOf('dpeth = 3\nsomething_else = 1');
    reader.read('depth', number, 1);
    expect(value(reader.finish(0, [])).warnings).toEqual([
      '/h/x.conf:1: unknown key "dpeth" is ignored, did you mean "depth"?',
      '/h/x.conf:2: unknown key "something_else" is ignored',
    ]);
  });

  it('takes a key under its old name, unless the new one is there too', () => {
    expect(readerOf('deepness = 3').read('depth', number, 1, 'deepness')).toBe(3);
    const both = readerOf('depth = 2\ndeepness = 3');
    expect(both.read('depth', number, 1, 'deepness')).toBe(2);
    expect(value(both.finish(0, [])).warnings).toEqual([
      '/h/x.conf:2: deepness is ignored, for depth is set in line 1',
    ]);
  });

  it('warns of a setting that slipped into [tags], and of sections that mean nothing in this file', () => {
    const reader = readerOf('[tags]\ndepth = 3\n[profile a]\n[pull]');
    reader.read('depth', number, 1);
    expect(value(reader.finish(0, ['tags', 'pull'])).warnings).toEqual([
      '/h/x.conf:2: depth stands in [tags] and is a tag; as a setting it belongs above it',
      '/h/x.conf:3: section [profile] has no effect here',
    ]);
  });

  it('fails at a key that is rejected, if it is set', () => {
    const reader = readerOf('depth = 3');
    reader.read('depth', number, 1);
    reader.reject('width', 'is wrong');
    expect(reader.finish(0, []).isOk()).toBe(true);
    reader.reject('depth', 'is wrong');
    expect(failure(reader.finish(0, [])).message).toBe('/h/x.conf:1: depth is wrong');
  });
});
