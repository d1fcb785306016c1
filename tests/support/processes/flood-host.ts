import { childProcessRunner } from '../../../src/adapters/child-process/runner.js';
import { value } from '../../contract/result.js';

// Runs one program with its output caught, as an agent does: `<program> <max output> stream|keep`; prints what it came to.
const [path = '', maxOutput = '', mode] = process.argv.slice(2);
let given = 0;
const outcome = value(
  await childProcessRunner().run({
    ...{ path, args: [], stdin: new Uint8Array(), env: { PATH: '/usr/bin:/bin' } },
    ...{ stdinTimeout: 10_000, timeout: 0, maxOutput: Number(maxOutput) },
    ...(mode === 'stream' && {
      onOutput: async (_stream: string, chunk: Uint8Array) => {
        given += chunk.length;
        return true;
      },
    }),
  }),
);
const { stdout, stderr } = outcome;
const kept = [stdout, stderr].map(({ bytes, total }) => [bytes.length, total]);
// maxRSS is in KiB.
process.stdout.write(JSON.stringify({ kept, given, peak: process.resourceUsage().maxRSS / 1024 }));
