import { describe, expect, it } from 'vitest';
import { goArchitecture, goSystem } from '../../../../src/domain/deploy/host.js';

describe("a host in Go's words", () => {
  it('names the operating system', () => {
    expect(['linux', 'darwin', 'win32', 'freebsd', 'sunos', 'aix'].map(goSystem)).toEqual([
      'linux',
      'darwin',
      'windows',
      'freebsd',
      'solaris',
      'aix',
    ]);
  });

  it('names the processor', () => {
    const named = ['x64', 'arm64', 'arm', 'ia32', 's390x', 'riscv64', 'ppc64', 'mipsel', 'loong64'];
    expect(named.map((each) => goArchitecture(each, true))).toEqual([
      'amd64',
      'arm64',
      'arm',
      '386',
      's390x',
      'riscv64',
      'ppc64le',
      'mipsle',
      'loong64',
    ]);
    expect(goArchitecture('ppc64', false)).toBe('ppc64');
  });
});
