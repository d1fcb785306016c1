/** So many first bytes of a program say what it is; the kernel looks at as many. */
export const programHead = 256;

const elf = [0x7f, 0x45, 0x4c, 0x46];

/**
 * Whether a program, by its first bytes, is neither an ELF binary nor a script that names its interpreter as the kernel
 * reads it: one word behind `#!`, ended within those bytes. The kernel refuses such a file; what tries it again with a
 * shell must not be let near it, whatever else is in it.
 */
export function lacksInterpreter(head: Uint8Array): boolean {
  if (elf.every((byte, index) => head[index] === byte)) return false;
  const line = /^#![ \t]*[^ \t\n\0]+/.exec(new TextDecoder('latin1').decode(head))?.[0];
  return line === undefined || line.length >= programHead;
}
