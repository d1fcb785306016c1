import { ok, type Result } from 'neverthrow';
import type { BareItem } from 'structured-headers';
import { fromBase64 } from '../core/bytes.js';
import { type Component, componentReader, covered, type Message } from './http-component.js';
import type { HeaderList } from './http-message.js';
import { type LabelledSignature, type SignatureInput, signatureBase } from './http-signature.js';

/*
 * A quick reading of signatures that are written exactly as this product writes them. All others are for http-signature.ts,
 * which reads what is read here in the same way.
 */

export const signatureLabel = 'cx';

const fields = ['@method', '@authority', '@path', '@query', 'content-type', 'content-digest'];

/** Every component that this product signs, by its identifier. */
const signable: ReadonlyMap<string, Component> = new Map(
  [
    ...[...fields, 'ctrl-exec-target', '@status'].map((name) => covered(name)),
    ...fields.map((name) => covered(name, ['req', true])),
    ...['signature-input', 'signature'].map((name) => covered(name, ['req', true], ['key', signatureLabel])),
  ].map((each) => [each.identifier, each]),
);

const count = '(0|[1-9][0-9]{0,14})';
const inputForm = new RegExp(
  `^cx=\\(([^()]{1,1000})\\);created=${count}(?:;expires=${count};nonce="([\\w-]{1,64})")?` +
    ';keyid="([\\w:-]{1,100})";alg="([\\w-]{1,40})";tag="([\\w-]{1,40})"$',
);
const signatureForm = /^cx=:([A-Za-z0-9+/]{1,4096}={0,2}):$/;

/** The value of a header that is there once. */
function onlyValue(headers: HeaderList, name: string): string | undefined {
  let value: string | undefined;
  for (const [key, each] of headers) {
    if (key !== name) continue;
    if (value !== undefined) return undefined;
    value = each;
  }
  return value;
}

function componentsIn(list: string): readonly Component[] | undefined {
  const components: Component[] = [];
  for (const identifier of list.split(' ')) {
    const found = signable.get(identifier);
    if (found === undefined || components.includes(found)) return undefined;
    components.push(found);
  }
  return components;
}

function inputOf(text: string): SignatureInput | undefined {
  const [, list = '', created, expires, nonce, keyid = '', alg = '', tag = ''] = inputForm.exec(text) ?? [];
  const components = created === undefined ? undefined : componentsIn(list);
  if (components === undefined) return undefined;
  const parameters = new Map<string, BareItem>([['created', Number(created)]]);
  if (expires !== undefined && nonce !== undefined)
    parameters.set('expires', Number(expires)).set('nonce', nonce);
  parameters.set('keyid', keyid).set('alg', alg).set('tag', tag);
  return { label: signatureLabel, components, parameters, text: text.slice(signatureLabel.length + 1) };
}

const bytesOf = (text: string): Uint8Array | undefined => {
  const base64 = signatureForm.exec(text)?.[1];
  return base64 === undefined ? undefined : fromBase64(base64);
};

/** The one signature of a message that is of the exact shape; undefined: let `readSignatures` judge. */
export function readExactSignature(headers: HeaderList): LabelledSignature | undefined {
  const input = inputOf(onlyValue(headers, 'signature-input') ?? '');
  const signature = input && bytesOf(onlyValue(headers, 'signature') ?? '');
  return signature && { ...input, signature };
}

/** The member `cx` of a signature field of the exact shape, as it is covered. */
function exactMember(message: Message, { name, parameters }: Component): string | undefined {
  if (parameters.get('key') !== signatureLabel || parameters.size !== 2 || !('status' in message))
    return undefined;
  const text = parameters.has('req') && onlyValue(message.request?.headers ?? [], name);
  if (!text) return undefined;
  const isExact =
    name === 'signature-input' ? inputOf(text) : name === 'signature' ? bytesOf(text) : undefined;
  return isExact && text.slice(signatureLabel.length + 1);
}

/** As `signatureBase`, without parsing what is of the exact shape. */
export function exactSignatureBase(message: Message, input: SignatureInput): Result<string, string> {
  const readValue = componentReader(message);
  return signatureBase(message, input, (component) => {
    const member = exactMember(message, component);
    return member === undefined ? readValue(component) : ok(member);
  });
}
