import fc from 'fast-check';
import { expect, it } from 'vitest';
import { parseCommand, programCandidates } from '../../../../src/domain/deploy/command.js';

it('a command is split at spaces and tabs', () => {
  expect(parseCommand('  nginx -s\treload ')).toEqual({ program: 'nginx', args: ['-s', 'reload'] });
  expect(parseCommand('systemctl reload php8.2-fpm@www.service')).toMatchObject({ program: 'systemctl' });
});

it('what a shell would read in another way is refused, and what is no program', () => {
  for (const character of ';&|$`(){}<>*?[]~#!"\'\\\n\r\0\u0007')
    expect(parseCommand(`nginx ${character} x`)).toBeUndefined();
  for (const text of [
    '',
    '  ',
    './nginx',
    'bin/nginx',
    '-c',
    'A=b nginx',
    `nginx ${'x'.repeat(4096)}`,
    'a \ud800',
  ])
    expect(parseCommand(text)).toBeUndefined();
});

it('no text makes words that hold a space or a metacharacter', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 60 }), (text) => {
      const command = parseCommand(text);
      if (command === undefined) return;
      for (const word of [command.program, ...command.args])
        expect(word).toMatch(/^[^ \t\n\0;&|$`(){}<>*?[\]~#!"'\\]+$/);
    }),
  );
});

it('programs are looked for in four directories of the system, in order', () => {
  const found = ['/usr/sbin/nginx', '/usr/bin/nginx', '/sbin/nginx', '/bin/nginx'];
  expect(programCandidates('nginx')).toEqual(found);
  expect(programCandidates('/opt/nginx')).toEqual(['/opt/nginx']);
});
