// Discovery of the pull agent as it is shipped: 2,000 certificates of all kinds among 100,000 files, beside a bare walk
// that reads the same files. Needs `npm run build`. Prints one JSON object.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import { cpus, tmpdir } from 'node:os';
import { extname, join } from 'node:path';
import { build } from 'esbuild';

const files = 100_000;
const certificates = 2000;
const filesEach = 100;
const rounds = 3;
const root = join(import.meta.dirname, '..');
const home = mkdtempSync(join(tmpdir(), 'ctrl-exec-bench-'));
const tree = join(home, 'tree');
const hour = 3_600_000;

const round = (/** @type {number} */ value) => Math.round(value * 100) / 100;
const median = (/** @type {number[]} */ values) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

const pki = async () => {
  const outfile = join(home, 'test-pki.mjs');
  await build({
    entryPoints: [join(root, 'tests/support/network/test-pki.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20.19',
    logLevel: 'warning',
    // What it bundles asks for modules of Node.js in the way of CommonJS.
    banner: {
      js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);",
    },
  });
  return (await import(outfile)).testCa;
};

/** The kinds of certificate files: extension, certificates in each, and how one is made. Every one has a serial of its own. */
const kindsOf = async (/** @type {Awaited<ReturnType<typeof pki>>} */ testCa) => {
  const ca = await testCa();
  const authority = async (/** @type {string} */ type) => (await testCa({ type })).keys;
  const keys = {
    rsa: await authority('rsa2048'),
    p256: await authority('p256'),
    p384: await authority('p384'),
    ed25519: await authority('ed25519'),
  };
  const issue = async (/** @type {number} */ index, /** @type {object} */ more) => {
    const [commonName, dnsNames] = [`host-${index}.test`, [`host-${index}.test`, `www.host-${index}.test`]];
    return (await ca.issue({ commonName, dnsNames, usages: ['serverAuth'], ...more })).certificate;
  };
  const der = (/** @type {string} */ pem) => Buffer.from(pem.replaceAll(/-----.*-----|\s/g, ''), 'base64');
  const past = { notBefore: new Date(Date.now() - 48 * hour), notAfter: new Date(Date.now() - 24 * hour) };
  /** @type {Record<string, { extension: string, holds: number, make: (index: number) => Promise<string | Buffer> }>} */
  const kinds = {
    rsa: { extension: '.pem', holds: 1, make: (index) => issue(index, { keys: keys.rsa }) },
    p256: { extension: '.crt', holds: 1, make: (index) => issue(index, { keys: keys.p256 }) },
    p384: { extension: '.cer', holds: 1, make: (index) => issue(index, { keys: keys.p384 }) },
    ed25519: { extension: '.pem', holds: 1, make: (index) => issue(index, { keys: keys.ed25519 }) },
    der: { extension: '.der', holds: 1, make: async (index) => der(await issue(index, { keys: keys.p256 })) },
    chain: {
      extension: '.pem',
      holds: 2,
      make: async (index) => (await issue(index, { keys: keys.rsa })) + ca.pem,
    },
    expired: { extension: '.crt', holds: 1, make: (index) => issue(index, { keys: keys.p256, ...past }) },
    ca: {
      extension: '.pem',
      holds: 1,
      make: async (index) => (await testCa({ commonName: `CA ${index}` })).pem,
    },
  };
  return kinds;
};

/** What else lies about on a host: most of it is read, as its name does not rule it out; keys and names without extension are not. */
const others = ['.conf', '.html', '.js', '.txt', '.json', '.log', '', '.key'];
const otherBytes = Buffer.from('Nothing that anybody would take for a certificate.\n'.repeat(80));

/** Spreads certificates evenly among the other files. Gives the number of files of each kind. */
const plant = async () => {
  const kinds = Object.entries(await kindsOf(await pki()));
  /** @type {Record<string, number>} */
  const planted = {};
  let left = certificates;
  const gap = Math.floor(files / certificates);
  for (let index = 0; index < files; index += 1) {
    const directory = join(
      tree,
      `site-${Math.floor(index / filesEach / 10)}`,
      `part-${Math.floor(index / filesEach) % 10}`,
    );
    if (index % filesEach === 0) mkdirSync(directory, { recursive: true });
    const found = index % gap === 0 && left > 0 ? kinds[(index / gap) % kinds.length] : undefined;
    const [name, kind] = found && found[1].holds <= left ? found : [];
    if (name === undefined || kind === undefined) {
      const bytes = otherBytes.subarray(0, 200 + ((index * 37) % (otherBytes.length - 200)));
      writeFileSync(join(directory, `file-${index}${others[index % others.length]}`), bytes);
      continue;
    }
    writeFileSync(join(directory, `${name}-${index}${kind.extension}`), await kind.make(index));
    planted[name] = (planted[name] ?? 0) + 1;
    left -= kind.holds;
  }
  return planted;
};

/** Reads what discovery reads, and nothing more is done with it. */
const bareWalk = async () => {
  let [read, bytes] = [0, 0];
  const began = performance.now();
  const below = async (/** @type {string} */ directory) => {
    for (const entry of await readdir(directory, { withFileTypes: true })) {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) await below(path);
      else if (!['', '.key'].includes(extname(entry.name))) {
        read += 1;
        bytes += (await readFile(path)).length;
      }
    }
  };
  await below(tree);
  return { read, bytes, seconds: (performance.now() - began) / 1000 };
};

/** MiB: the most that was ever resident. @param {number | undefined} pid */
const peakOf = (pid) =>
  Math.round(Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024);

/** A control plane that has no jobs, and takes reports. */
const startPlane = async () => {
  const testCa = await pki();
  const ca = await testCa();
  const { key, certificate } = await ca.issue({ dnsNames: ['localhost'], usages: ['serverAuth'] });
  writeFileSync(join(home, 'ca.pem'), ca.pem);
  const plane = {
    /** @type {(report: string) => void} */
    reported: () => undefined,
    server: createServer({ key, cert: certificate, minVersion: 'TLSv1.3' }, (request, response) => {
      /** @type {Buffer[]} */
      const chunks = [];
      request.on('data', (chunk) => chunks.push(chunk));
      request.on('end', () => {
        const discovery = request.url?.endsWith('/discoveries');
        if (discovery) plane.reported(Buffer.concat(chunks).toString());
        response.writeHead(discovery ? 202 : 200, { 'content-type': 'application/json' });
        response.end(request.url?.endsWith('/work') ? '{"jobs":[],"count":0}' : '{"status":"ok"}');
      });
    }),
  };
  plane.server.listen(0, '127.0.0.1');
  await once(plane.server, 'listening');
  return plane;
};

/** One round of the agent: a heartbeat, a poll, a scan, its report. @param {Awaited<ReturnType<typeof startPlane>>} plane */
const scan = async (plane) => {
  const address = plane.server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const began = performance.now();
  const agent = spawn(
    process.execPath,
    [join(root, 'dist/bin/ctrl-exec-agent.js'), '--home', home, 'pull', '--once'],
    {
      stdio: ['ignore', 'ignore', 'inherit'],
      env: {
        ...process.env,
        CERTCTL_SERVER_URL: `https://localhost:${address.port}`,
        CERTCTL_API_KEY: 'bench',
        CERTCTL_AGENT_ID: 'bench',
        CERTCTL_KEY_DIR: join(home, 'keys'),
        CERTCTL_SERVER_CA_BUNDLE_PATH: join(home, 'ca.pem'),
        CERTCTL_DISCOVERY_DIRS: tree,
        CERTCTL_LOG_LEVEL: 'warn',
      },
    },
  );
  let [peak, bytes, report] = [0, 0, { certificates: [], errors: [], scan_duration_ms: 0 }];
  plane.reported = (text) => {
    // The agent waits for the answer: this is after all of its work.
    peak = peakOf(agent.pid);
    bytes = Buffer.byteLength(text);
    report = JSON.parse(text);
  };
  const [code] = await once(agent, 'exit');
  if (code !== 0) throw new Error(`the agent ended with ${code}`);
  const { certificates: found, errors } = report;
  if (found.length !== certificates || errors.length > 0)
    throw new Error(`${found.length} certificates were found, and ${errors.length} errors: ${errors[0]}`);
  return {
    seconds: report.scan_duration_ms / 1000,
    process: (performance.now() - began) / 1000,
    peak,
    found: found.length,
    bytes,
  };
};

try {
  const kinds = await plant();
  const plane = await startPlane();
  // Once before all measurements, so that all of them find the files in memory.
  const { read, bytes } = await bareWalk();
  /** @type {Awaited<ReturnType<typeof bareWalk>>[]} */
  const bare = [];
  /** @type {Awaited<ReturnType<typeof scan>>[]} */
  const agent = [];
  for (let count = 0; count < rounds; count += 1) {
    bare.push(await bareWalk());
    agent.push(await scan(plane));
  }
  plane.server.close();
  const reference = median(bare.map(({ seconds }) => seconds));
  const seconds = median(agent.map((each) => each.seconds));
  const result = {
    benchmark: 'discovery',
    machine: { cpu: cpus()[0]?.model, cores: cpus().length, platform: process.platform },
    versions: { node: process.version, openssl: process.versions.openssl },
    files,
    files_read: read,
    mib_read: round(bytes / 1024 / 1024),
    certificates: agent[0]?.found,
    certificate_files: kinds,
    report_mib: round((agent[0]?.bytes ?? 0) / 1024 / 1024),
    rounds,
    seconds: round(seconds),
    seconds_of_the_process: round(median(agent.map((each) => each.process))),
    peak_rss_mib: Math.max(...agent.map(({ peak }) => peak)),
    reference: {
      what: 'a recursive walk that reads the same files, one after the other',
      seconds: round(reference),
    },
    ratio: round(seconds / reference),
  };
  console.log(JSON.stringify(result, undefined, 2));
} finally {
  rmSync(home, { recursive: true });
}
