import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { attempt } from '../../../../src/adapters/files/system-failure.js';
import {
  connectionCode,
  errorCode,
  errorMessage,
  errorName,
  isError,
} from '../../../../src/domain/core/thrown.js';
import { failure } from '../../../contract/result.js';

const src = fileURLToPath(new URL('../../../../src', import.meta.url));

/** An error as a test of jest, or another `vm` context, throws it. */
const foreign = (text: string): unknown => runInNewContext(text);

it('tells an error of another realm by what it carries', () => {
  const thrown = foreign(`Object.assign(new RangeError('no such'), { code: 'ENOENT' })`);
  expect(thrown instanceof Error).toBe(false);
  expect([isError(thrown), errorName(thrown), errorCode(thrown), errorMessage(thrown)]).toEqual([
    true,
    'RangeError',
    'ENOENT',
    'no such',
  ]);
});

it('gives the code of an error of another realm as the reason why a file could not be read', async () => {
  const read = attempt('/x', 'read', async () => {
    throw foreign(`Object.assign(new Error('no'), { code: 'ENOENT' })`);
  });
  expect(failure(await read)).toMatchObject({
    code: 'file_failed',
    reason: 'ENOENT',
    message: 'cannot read /x: no such file or directory (ENOENT)',
  });
});

it('has a text for whatever is thrown', () => {
  expect(['plain', undefined, null, 7, new Error(), {}].map(errorMessage)).toEqual([
    'plain',
    'undefined',
    'null',
    '7',
    'Error',
    '[object Object]',
  ]);
  expect([errorCode('ENOENT'), errorName({ name: 'x', message: 'y' })]).toEqual([undefined, undefined]);
});

it('asks nothing of what refuses to be asked', () => {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  expect([isError(proxy), errorCode(proxy), errorMessage(proxy)]).toEqual([
    false,
    undefined,
    'it threw something without a text',
  ]);
});

it('why a connection failed: a refused attempt, its own code, that of another attempt, or that of its cause', () => {
  const [refused, away] = [{ code: 'ECONNREFUSED' }, { code: 'ENETUNREACH' }];
  expect(
    [
      foreign(`Object.assign(new Error('x'), { code: 'EPIPE' })`),
      { code: 'ENETUNREACH', errors: [away, refused] },
      { code: 'ENETUNREACH', errors: [away] },
      { errors: [{}, away] },
      { cause: refused },
      { code: 'UND_ERR_SOCKET', cause: refused },
      {},
      undefined,
    ].map(connectionCode),
  ).toEqual([
    'EPIPE',
    'ECONNREFUSED',
    'ENETUNREACH',
    'ENETUNREACH',
    'ECONNREFUSED',
    'UND_ERR_SOCKET',
    undefined,
    undefined,
  ]);
});

it('nothing in src asks whether something is an instance of an error class of JavaScript', () => {
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.ts'),
  );
  const asking = files.filter((name) =>
    /instanceof \(?(Type|Syntax|Range|URI|Reference|Aggregate|Eval)?Error\b|instanceof DOMException/.test(
      readFileSync(join(src, name), 'utf8').replaceAll(/\/\*.*?\*\/|\/\/.*/gs, ''),
    ),
  );
  expect(asking).toEqual([]);
});
