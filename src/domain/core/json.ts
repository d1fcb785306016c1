import { err, ok, Result } from 'neverthrow';
import { isJsonObject } from './decode.js';
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
 * 500,000 (or `itemLimit`) members and elements in all, no name twice in one object, no `__proto__` and no `constructor` with a `prototype`
 * (what would reach the engine's own objects where objects are copied), no half of a surrogate pair, no number beyond
 * those that there are. Takes time linear in the input. The error is a reason that quotes no value of the text.
 */
export function parseJsonObject(
  input: string | Uint8Array,
  itemLimit = jsonItemLimit,
): Result<Record<string, unknown>, string> {
  const text = typeof input === 'string' ? ok<string, string>(input) : decode(input);
  return text.andThen((json) => {
    const objection = scan(json, itemLimit);
    if (objection !== undefined) return err(objection);
    return parse(json).andThen((value) =>
      isJsonObject(value) ? ok(value as Record<string, unknown>) : err('not a JSON object'),
    );
  });
}

interface Open {
  /** The names seen so far; undefined: it is an array. */
  readonly names: Set<string> | undefined;
  /** It is the value of a member `constructor`. */
  readonly ofConstructor: boolean;
}

/** The `u` flag takes a whole pair for one character that is none of these. */
const half = /\p{Surrogate}/u;
const halfOfPair = 'half of a surrogate pair';
const escapedHalf = /\\u[dD][89A-Fa-f]/;

/**
 * Looks for what `JSON.parse` lets pass: depth, repeated names, `__proto__`, halves of pairs, numbers that become
 * infinite. Right for every valid text; of an invalid one it may say anything or nothing, that is found by parsing.
 */
function scan(text: string, itemLimit: number): string | undefined {
  if (half.test(text)) return halfOfPair;
  const open: Open[] = [];
  let nameExpected = false;
  let lastName = '';
  let separators = 0;
  for (let at = 0; at < text.length; at++) {
    switch (text[at]) {
      case '{':
      case '[': {
        if (open.length === jsonDepthLimit) return `nested deeper than ${jsonDepthLimit}`;
        const ofConstructor = open.at(-1)?.names !== undefined && lastName === 'constructor';
        nameExpected = text[at] === '{';
        open.push({ names: nameExpected ? new Set() : undefined, ofConstructor });
        break;
      }
      case '}':
      case ']':
        open.pop();
        nameExpected = false;
        break;
      case ',':
        separators += 1;
        if (separators >= itemLimit) return `more than ${itemLimit} members and elements`;
        nameExpected = open.at(-1)?.names !== undefined;
        break;
      case '"': {
        const end = endOfString(text, at);
        const literal = text.slice(at, end);
        if (nameExpected) {
          const name = nameIn(literal);
          const objection = name === undefined ? 'not valid JSON' : objectionTo(name, open.at(-1));
          if (objection !== undefined) return objection;
          lastName = name ?? '';
        }
        if (escapedHalf.test(literal) && half.test(String(parse(literal).unwrapOr('')))) return halfOfPair;
        nameExpected = false;
        at = end - 1;
        break;
      }
      default: {
        const token = numberAt(text, at);
        if (Math.abs(Number(token)) === Number.POSITIVE_INFINITY) return 'a number is too large';
        at += Math.max(0, token.length - 1);
      }
    }
  }
  return undefined;
}

const inNumber = /[-+.0-9Ee]*/y;

/** The number that begins here; empty: none does. */
function numberAt(text: string, start: number): string {
  if (!/[-0-9]/.test(text[start] ?? '')) return '';
  inNumber.lastIndex = start;
  return inNumber.exec(text)?.[0] ?? '';
}

/** Just behind the closing quote of the string that begins here, or the end of the text. */
function endOfString(text: string, start: number): number {
  let at = start + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return Math.min(at + 1, text.length);
}

function nameIn(literal: string): string | undefined {
  const name = literal.includes('\\') ? parse(literal).unwrapOr(undefined) : literal.slice(1, -1);
  return typeof name === 'string' ? name : undefined;
}

function objectionTo(name: string, object: Open | undefined): string | undefined {
  if (name === '__proto__') return 'the name "__proto__" is not allowed';
  if (name === 'prototype' && object?.ofConstructor) return 'a "prototype" in a "constructor" is not allowed';
  if (object?.names?.has(name)) return `the name "${printable(name, 60)}" occurs twice in one object`;
  object?.names?.add(name);
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
