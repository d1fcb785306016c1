import { describe, expect, it } from 'vitest';
import { lacksInterpreter, programHead } from '../../../../src/domain/runs/interpreter.js';

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
