import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Credentials } from '../../../src/ports/channel.js';
import { atEnd, temporaryDirectory } from '../commands/commands.js';

const needed = ['LWP::UserAgent', 'LWP::Protocol::https', 'IO::Socket::SSL'];
const { status } = spawnSync('perl', [...needed.map((name) => `-M${name}`), '-e', '1'], { stdio: 'ignore' });

/** Undefined: real LWP and IO::Socket::SSL can be tested with. Else what is missing, for the name of a test that is skipped. */
export const missingForLwp: string | undefined =
  status === 0
    ? undefined
    : 'perl with libwww-perl, liblwp-protocol-https-perl and libio-socket-ssl-perl is not installed';

/** Key, certificate and CA in files: what Perl's TLS reads. */
function filesOf(
  { key, certificate }: Credentials,
  ca: string,
): readonly [key: string, cert: string, ca: string] {
  const directory = temporaryDirectory();
  const file = (name: string, text: string) => {
    const path = join(directory, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  return [file('key.pem', key), file('cert.pem', certificate), file('ca.pem', ca)];
}

/** What a process writes, line by line: `next` waits for the next one and rejects when it ends without. */
function linesOf(child: ChildProcess) {
  const lines: string[] = [];
  let rest = '';
  let over = false;
  let wake = () => {};
  child.stdout?.setEncoding('latin1').on('data', (text: string) => {
    const parts = (rest + text).split('\n');
    rest = parts.pop() ?? '';
    lines.push(...parts);
    wake();
  });
  const ended = new Promise<void>((resolve) => {
    child.once('close', () => {
      over = true;
      wake();
      resolve();
    });
  });
  atEnd(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  return {
    async next(): Promise<string> {
      for (;;) {
        const line = lines.shift();
        if (line !== undefined) return line;
        if (over) throw new Error('the process has ended');
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}

const perl = (script: string, args: readonly string[]) =>
  linesOf(spawn('perl', ['-e', script, ...args], { stdio: ['ignore', 'pipe', 'inherit'] }));

/** One request, then its status line and its content, in hex. Certificates as deployed dispatchers use them: no host name. */
const client = `
  use LWP::UserAgent;
  my ($method, $url, $key, $cert, $ca, $body) = @ARGV;
  my $agent = LWP::UserAgent->new(timeout => 20, ssl_opts => {
    verify_hostname => 0, SSL_verify_mode => 1, SSL_key_file => $key, SSL_cert_file => $cert, SSL_ca_file => $ca });
  my $answer = $method eq 'GET' ? $agent->get($url)
    : $agent->post($url, 'Content-Type' => 'application/json', Content => pack('H*', $body));
  print $answer->status_line, "\\n", unpack('H*', $answer->content), "\\n";
`;

/** One request by real LWP. */
export async function realLwp(
  who: Credentials,
  ca: string,
  url: string,
  body?: Buffer,
): Promise<{ readonly line: string; readonly body: Buffer }> {
  const method = body ? 'POST' : 'GET';
  const lines = perl(client, [method, url, ...filesOf(who, ca), body?.toString('hex') ?? '']);
  return { line: await lines.next(), body: Buffer.from(await lines.next(), 'hex') };
}

/** One connection after the other: reads a request, writes the given bytes, closes; tells its port, then what came, in hex. */
const server = `
  use IO::Socket::SSL;
  $| = 1;
  my ($answer, $key, $cert, $ca) = @ARGV;
  my $listening = IO::Socket::SSL->new(LocalAddr => '127.0.0.1', LocalPort => 0, Listen => 5, SSL_server => 1,
    SSL_key_file => $key, SSL_cert_file => $cert, SSL_ca_file => $ca, SSL_verify_mode => 1,
    SSL_version => 'SSLv23:!SSLv2:!SSLv3:!TLSv1:!TLSv1_1') or die $SSL_ERROR;
  print $listening->sockport, "\\n";
  while (my $peer = $listening->accept) {
    my ($head, $body) = ('', '');
    while (defined(my $line = <$peer>)) { $head .= $line; last if $line =~ /^\\r?\\n$/ }
    read $peer, $body, $1 if $head =~ /content-length:\\s*(\\d+)/i;
    print unpack('H*', $head . $body), "\\n";
    print $peer pack('H*', $answer);
    $peer->close;
  }
`;

/** A server over IO::Socket::SSL on 127.0.0.1 that answers every request with these bytes and closes; gone after the test. */
export async function realPerlServer(who: Credentials, ca: string, answer: Buffer) {
  const lines = perl(server, [answer.toString('hex'), ...filesOf(who, ca)]);
  return {
    port: Number(await lines.next()),
    /** The bytes of the next request. */
    request: async (): Promise<Buffer> => Buffer.from(await lines.next(), 'hex'),
  };
}
