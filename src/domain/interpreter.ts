/** So many first bytes of a program say what it is. */
export const programHead = 256;

/**
 * Whether a program, by its first bytes, is text that names no interpreter. The kernel refuses such a file; what tries
 * it again with a shell must not be let near it.
 */
export function lacksInterpreter(head: Uint8Array): boolean {
  if (head.includes(0)) return false;
  return !/^#![ \t]*[^ \t\n]/.test(new TextDecoder('latin1').decode(head));
}
