import { err, ok, Result } from 'neverthrow';
import { printable } from './names.js';

/** How deep objects and arrays may be nested. */
export const jsonDepthLimit = 64;

/** How many members and elements there may be in all: what is larger is no message of this product, but costs minutes. */
export const jsonItemLimit = 500_000;

const decode = Result.fromThrowable(
  (bytes: Uint8Array) => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes),
  () => 'not valid UTF-8',
);
// What the engine says may quote the text, and so a secret; only that it failed goes on.
const parse = Result.fromThrowable(
  (text: string): unknown => JSON.parse(text),
  () => 'not valid JSON',
);

/**
 * Reads exactly one JSON object (RFC 8259, I-JSON's rule on names): valid UTF-8, nested at most 64 deep, at most
 * 500,000 members and elements in all, no name twice in one object, no `__proto__`. Takes time linear in the input. The error is a reason that quotes no value of the text.
 */
export function parseJsonObject(input: string | Uint8Array): Result<Record<string, unknown>, string> {
  const text = typeof input === 'string' ? ok<string, string>(input) : decode(input);
  return text.andThen((json) => {
    const objection = scan(json);
    if (objection !== undefined) return err(objection);
    return parse(json).andThen((value) =>
      typeof value === 'object' && value !== null && !Array.isArray(value)
        ? ok(value as Record<string, unknown>)
        : err('not a JSON object'),
    );
  });
}

/**
 * Looks for what `JSON.parse` lets pass: depth, repeated names, `__proto__`. Right for every valid text; of an invalid
 * one it may say anything or nothing, that is found by parsing.
 */
function scan(text: string): string | undefined {
  /** The names seen in each object that is open; undefined for an array. */
  const open: Array<Set<string> | undefined> = [];
  let nameExpected = false;
  let separators = 0;
  for (let at = 0; at < text.length; at++) {
    switch (text[at]) {
      case '{':
      case '[':
        if (open.length === jsonDepthLimit) return `nested deeper than ${jsonDepthLimit}`;
        nameExpected = text[at] === '{';
        open.push(nameExpected ? new Set() : undefined);
        break;
      case '}':
      case ']':
        open.pop();
        nameExpected = false;
        break;
      case ',':
        separators += 1;
        if (separators >= jsonItemLimit) return `more than ${jsonItemLimit} members and elements`;
        nameExpected = open.at(-1) !== undefined;
        break;
      case '"': {
        const end = endOfString(text, at);
        const objection = nameExpected ? objectionTo(text.slice(at, end), open.at(-1)) : undefined;
        if (objection !== undefined) return objection;
        nameExpected = false;
        at = end - 1;
        break;
      }
    }
  }
  return undefined;
}

/** Just behind the closing quote of the string that begins here, or the end of the text. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return Math.min(at + 1, text.length);
}

function objectionTo(literal: string, seen: Set<string> | undefined): string | undefined {
  const name = literal.includes('\\') ? parse(literal).unwrapOr(undefined) : literal.slice(1, -1);
  if (typeof name !== 'string') return 'not valid JSON';
  if (name === '__proto__') return 'the name "__proto__" is not allowed';
  if (seen?.has(name)) return `the name "${printable(name, 60)}" occurs twice in one object`;
  seen?.add(name);
  return undefined;
}

/**
 * JSON with the names of every object sorted by UTF-16 code units and no insignificant space, numbers and strings as
 * JavaScript writes them (RFC 8785).
 * @param value plain JSON data, not nested without bound; what JSON cannot hold is left out or becomes `null`
 */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item)).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null';
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member)}`);
  return `{${members.join(',')}}`;
}
