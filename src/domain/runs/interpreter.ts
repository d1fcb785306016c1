/** So many first bytes of a program say what it is; the kernel looks at as many. */
export const programHead = 256;

/** The `PATH` of every program that an agent runs. */
export const programPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

const elf = [0x7f, 0x45, 0x4c, 0x46];

/**
 * Whether a program, by its first bytes, is neither an ELF binary nor a script that names its interpreter as the kernel
 * reads it: one word behind `#!`, ended within those bytes. The kernel refuses such a file; what tries it again with a
 * shell must not be let near it, whatever else is in it.
 */
export function lacksInterpreter(head: Uint8Array): boolean {
  if (elf.every((byte, index) => head[index] === byte)) return false;
  const [line] = firstWords(head);
  return line === undefined || line.length >= programHead;
}

/**
 * The program that a script needs besides itself, as its places, one of which is enough: the interpreter of its `#!` line, and
 * where that is `env NAME`, NAME in each directory of `programPath`. Of a binary: none.
 */
export function interpreterPlaces(
  head: Uint8Array,
): { readonly name: string; readonly places: readonly string[] }[] {
  const [, interpreter, word = ''] = firstWords(head);
  // What is relative depends on the directory that a script begins in.
  if (interpreter === undefined || !interpreter.startsWith('/')) return [];
  const isNamed = /\/env$/.test(interpreter) && /^[^-=/][^=/]*$/.test(word);
  return [
    { name: interpreter, places: [interpreter] },
    ...(isNamed
      ? [{ name: word, places: programPath.split(':').map((directory) => `${directory}/${word}`) }]
      : []),
  ];
}

/** The interpreter of a `#!` line, as it is written there; undefined where there is none. */
export const interpreterOf = (head: Uint8Array): string | undefined => firstWords(head)[1];

/** The beginning of a `#!` line with its interpreter; the interpreter; the first word behind it. */
const firstWords = (head: Uint8Array): readonly (string | undefined)[] =>
  /^(#![ \t]*([^ \t\n\0]+))(?:[ \t]+([^ \t\n\0]+))?/.exec(new TextDecoder('latin1').decode(head))?.slice(1) ??
  [];
