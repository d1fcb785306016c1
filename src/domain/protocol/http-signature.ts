import { err, ok, Result } from 'neverthrow';
import {
  type Dictionary,
  type Item,
  isInnerList,
  type Parameters,
  serializeByteSequence,
  serializeItem,
  serializeParameters,
} from 'structured-headers';
import {
  type Component,
  component,
  componentReader,
  fieldLines,
  identity,
  type Message,
  type ReadComponent,
  readDictionary,
  trimmed,
} from './http-component.js';
import type { HeaderList } from './http-message.js';

/*
 * HTTP Message Signatures (RFC 9421): what is signed, and how signatures are written and read. Whether one holds is for the
 * crypto port to say, whether it is good enough for whoever uses it. Without trailers (`;tr`) and Accept-Signature.
 */

/** What a signature covers, in order, and its parameters. */
export interface SignatureInput {
  readonly label: string;
  readonly components: readonly Component[];
  readonly parameters: Parameters;
  /** The inner list: the value of `@signature-params`. */
  readonly text: string;
}

export interface LabelledSignature extends SignatureInput {
  readonly signature: Uint8Array;
}

/** What is read of a message before it is refused. */
export const signatureLimits = { fieldLength: 8192, signatures: 8, components: 64 } as const;

const label = /^[a-z*][a-z0-9_.*-]*$/;

/** Puts together what is to be signed. */
export function signatureInput(
  name: string,
  components: readonly Component[],
  parameters: Parameters,
): Result<SignatureInput, string> {
  if (!label.test(name)) return err(`"${name}" cannot be a label`);
  const seen = new Set(components.map(identity));
  if (seen.size < components.length) return err(`${name} covers a component twice`);
  const list = components.map(({ identifier }) => identifier).join(' ');
  try {
    return ok({ label: name, components, parameters, text: `(${list})${serializeParameters(parameters)}` });
  } catch {
    return err(`${name} has a parameter that cannot be written`);
  }
}

/** The bytes that are signed (section 2.5), as text: it is ASCII. Err where a component is missing or ambiguous. */
export function signatureBase(
  message: Message,
  { components, text }: SignatureInput,
  readValue: ReadComponent = componentReader(message),
): Result<string, string> {
  const lines: string[] = [];
  for (const covered of components) {
    const value = readValue(covered);
    if (value.isErr()) return err(value.error);
    lines.push(`${covered.identifier}: ${value.value}`);
  }
  return ok([...lines, `"@signature-params": ${text}`].join('\n'));
}

/** The two headers of one signature. */
export const signatureHeaders = (input: SignatureInput, signature: Uint8Array): HeaderList => [
  ['signature-input', `${input.label}=${input.text}`],
  ['signature', `${input.label}=${serializeByteSequence(signature)}`],
];

/**
 * Every signature of a message; none where both fields are absent. Both must be written as RFC 9651 serialises them (but
 * for white space around commas): so no label, parameter or spelling of bytes can be there twice, or differently from
 * what is read.
 */
export function readSignatures(headers: HeaderList): Result<readonly LabelledSignature[], string> {
  const inputText = fieldLines(headers, 'signature-input')?.join(', ');
  const signatureText = fieldLines(headers, 'signature')?.join(', ');
  if (inputText === undefined && signatureText === undefined) return ok([]);
  if (inputText === undefined) return err('signature-input is missing');
  if (signatureText === undefined) return err('signature is missing');
  return Result.combine([
    dictionary('signature-input', inputText),
    dictionary('signature', signatureText),
  ]).andThen(([inputs, signatures]) => {
    if (!inputs || !signatures || inputs.size !== signatures.size)
      return err('signature and signature-input have different labels');
    return readInputs(inputs, inputText).andThen((read) => withSignatures(read, signatures, signatureText));
  });
}

function dictionary(name: string, text: string): Result<Dictionary, string> {
  if (text.length > signatureLimits.fieldLength)
    return err(`${name} is longer than ${signatureLimits.fieldLength} characters`);
  return readDictionary(name, text).andThen((members) =>
    members.size <= signatureLimits.signatures
      ? ok(members)
      : err(`${name} has more than ${signatureLimits.signatures} members`),
  );
}

function readInputs(inputs: Dictionary, text: string): Result<readonly SignatureInput[], string> {
  const read: SignatureInput[] = [];
  for (const [name, member] of inputs) {
    if (!isInnerList(member)) return err(`signature-input ${name} is no list`);
    const [items, parameters] = member;
    const input = readComponents(items).andThen((components) => signatureInput(name, components, parameters));
    if (input.isErr()) return err(input.error);
    read.push(input.value);
  }
  return sameWriting(
    text,
    read.map((input) => `${input.label}=${input.text}`),
  )
    ? ok(read)
    : err('signature-input is not written as a dictionary without repetitions');
}

function readComponents(items: readonly Item[]): Result<readonly Component[], string> {
  if (items.length > signatureLimits.components)
    return err(`more than ${signatureLimits.components} components are covered`);
  const components: Component[] = [];
  for (const [name, parameters] of items) {
    if (typeof name !== 'string') return err('a component identifier is no string');
    const read = component(name, parameters);
    if (read.isErr()) return err(read.error);
    components.push(read.value);
  }
  return ok(components);
}

function withSignatures(
  inputs: readonly SignatureInput[],
  signatures: Dictionary,
  text: string,
): Result<readonly LabelledSignature[], string> {
  const read: LabelledSignature[] = [];
  for (const input of inputs) {
    const member = signatures.get(input.label);
    if (!member || isInnerList(member) || !(member[0] instanceof ArrayBuffer))
      return err(`signature has no bytes labelled ${input.label}`);
    read.push({ ...input, signature: new Uint8Array(member[0]) });
  }
  const written = [...signatures].map(([name, member]) =>
    isInnerList(member) ? '' : `${name}=${serializeItem(member)}`,
  );
  return sameWriting(text, written)
    ? ok(read)
    : err('signature is not written as a dictionary without repetitions');
}

const withoutSpaces = (text: string) => text.split(',').map(trimmed).join(',');

const sameWriting = (text: string, members: readonly string[]) =>
  withoutSpaces(text) === withoutSpaces(members.join(','));

/** The one signature with this tag: undefined where none has it, Err where several do. */
export function withTag<S extends SignatureInput>(
  signatures: readonly S[],
  tag: string,
): Result<S | undefined, string> {
  const [found, second] = signatures.filter(({ parameters }) => parameters.get('tag') === tag);
  return second === undefined ? ok(found) : err(`several signatures have the tag ${tag}`);
}

/** The signature with this label. */
export const withLabel = <S extends SignatureInput>(signatures: readonly S[], name: string): S | undefined =>
  signatures.find((signature) => signature.label === name);
