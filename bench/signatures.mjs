// Signatures of our own shape: read by the quick path, and by the general engine of RFC 9421. Prints one JSON object,
// in microseconds for each message: the median of nine rounds.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';

const rounds = 9;
const each = 2000;
const root = join(import.meta.dirname, '..');
const home = mkdtempSync(join(tmpdir(), 'ctrl-exec-bench-'));

const microseconds = (/** @type {() => unknown} */ work) => {
  const times = [];
  for (let round = 0; round < rounds; round += 1) {
    const start = performance.now();
    for (let index = 0; index < each; index += 1) work();
    times.push(((performance.now() - start) * 1000) / each);
  }
  return Math.round((times.toSorted((a, b) => a - b)[Math.floor(rounds / 2)] ?? 0) * 10) / 10;
};

try {
  const outfile = join(home, 'signatures.mjs');
  await build({
    stdin: {
      contents: `
        export { exactSignatureBase, readExactSignature } from './src/domain/protocol/exact-shape.ts';
        export { readSignatures, signatureBase } from './src/domain/protocol/http-signature.ts';`,
      resolveDir: root,
    },
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
  });
  const { exactSignatureBase, readExactSignature, readSignatures, signatureBase } = await import(outfile);
  const { cases } = JSON.parse(readFileSync(join(root, 'tests/vectors/message-signature.json'), 'utf8'));
  const [{ request, response }] = cases;
  const { method, authority, path, headers } = request;
  const asked = {
    method,
    path,
    query: '',
    scheme: 'https',
    headers: [['host', authority], ...Object.entries(headers)],
  };
  const answered = { status: response.status, headers: Object.entries(response.headers), request: asked };
  const both = (/** @type {typeof asked | typeof answered} */ message) => ({
    exact: microseconds(() => exactSignatureBase(message, readExactSignature(message.headers))),
    general: microseconds(() => signatureBase(message, readSignatures(message.headers)._unsafeUnwrap()[0])),
  });
  console.log(JSON.stringify({ request: both(asked), answer: both(answered) }));
} finally {
  rmSync(home, { recursive: true, force: true });
}
