/** Operating systems and processors, as the control plane knows them, by what Node calls them. */
const systems: Readonly<Record<string, string>> = { win32: 'windows', sunos: 'solaris' };
const processors: Readonly<Record<string, string>> = {
  x64: 'amd64',
  ia32: '386',
  loong64: 'loong64',
  mipsel: 'mipsle',
};

/** Go's word for a platform of Node (`linux`, `darwin`, `windows`, …). */
export const goSystem = (platform: string): string => systems[platform] ?? platform;

/** Go's word for a processor architecture of Node (`amd64`, `arm64`, `ppc64le`, …). */
export function goArchitecture(architecture: string, littleEndian: boolean): string {
  if (architecture === 'ppc64') return littleEndian ? 'ppc64le' : 'ppc64';
  return processors[architecture] ?? architecture;
}
