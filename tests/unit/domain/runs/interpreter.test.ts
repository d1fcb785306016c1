import { describe, expect, it } from 'vitest';
import {
  interpreterPlaces,
  lacksInterpreter,
  programHead,
  programPath,
} from '../../../../src/domain/runs/interpreter.js';

const head = (text: string) => Buffer.from(text, 'latin1').subarray(0, programHead);

describe('what the kernel would refuse and a shell would run', () => {
  it.each([
    '#!/bin/sh\n',
    '#! /bin/sh -e\n',
    '#!\t/bin/sh',
    '#!/bin/sh\0',
    `#!/${'x'.repeat(252)}\n`,
    `#!/bin/sh ${'x'.repeat(300)}`,
    '\x7fELF\x02\x01',
  ])('%j is none of it', (text) => expect(lacksInterpreter(head(text))).toBe(false));

  it.each([
    '',
    'echo hi\n',
    '\n#!/bin/sh\n',
    '\u00ef\u00bb\u00bf#!/bin/sh\n',
    '#!',
    '#!\n',
    '#! \t\necho hi\n',
    '#!\0/bin/sh\n',
    '\0\necho hi\n',
    'MZ\0\necho hi\n',
    '\x7fELX',
    `#!/${'x'.repeat(253)}\n`,
    `#!${' '.repeat(300)}/bin/sh\n`,
  ])('%j is', (text) => expect(lacksInterpreter(head(text))).toBe(true));
});

describe('what a script needs besides itself', () => {
  const names = (text: string) => interpreterPlaces(head(text)).map(({ name }) => name);

  it.each([
    ['#!/bin/sh -e\n', ['/bin/sh']],
    ['#! /bin/sh\r\n', ['/bin/sh\r']],
    ['#!/usr/bin/env python3\n', ['/usr/bin/env', 'python3']],
    ['#!/usr/bin/env -S node --x\n', ['/usr/bin/env']],
    ['#!/usr/bin/env A=b sh\n', ['/usr/bin/env']],
    ['#!bin/sh\n', []],
    ['\x7fELF', []],
  ])('%j needs %j', (text, expected) => expect(names(text)).toEqual(expected));

  it('env looks in every directory of PATH', () =>
    expect(interpreterPlaces(head('#!/usr/bin/env sh'))[1]?.places).toEqual(
      programPath.split(':').map((directory) => `${directory}/sh`),
    ));
});
