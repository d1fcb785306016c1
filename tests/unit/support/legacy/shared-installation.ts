import { shared } from '../../../support/commands/commands.js';
import { type LegacyAgentOptions, startLegacyAgent } from '../../../support/legacy/agent.js';
import { legacyCa } from '../../../support/legacy/ca.js';
import { legacyDispatcher } from '../../../support/legacy/dispatcher.js';
import { type LegacyScript, legacySerialScript } from '../../../support/legacy/run.js';
import type { LegacyVersion } from '../../../support/legacy/versions.js';
import { openTls, received } from '../../../support/network/raw-tls.js';

export const versions: readonly LegacyVersion[] = ['0.8', '0.9', '0.11', '0.12'];
export const here = '127.0.0.1';

const echo: LegacyScript = ({ args }) => ({ exit: 0, stdout: `${args.join(' ')}\n` });

/** A legacy CA with a dispatcher and an agent, shared by the tests of a file. */
export function legacyInstallation() {
  const installation = shared(async () => {
    // Serials of eight digits with a letter: every version takes them.
    const ca = await legacyCa({ bits: 2048, lastSerial: '1a000000' });
    const [dispatcher, agent] = [await ca.issue('ctrl-exec'), await ca.issue('vm')];
    return { ca, dispatcher, agent };
  });

  /** An agent that trusts the dispatcher, and has the scripts `echo` and `update-ctrl-exec-serial`. */
  async function agentOf(version: LegacyVersion, options: Partial<LegacyAgentOptions> = {}) {
    const { dispatcher, agent: identity } = installation();
    const line = version === '0.8' ? dispatcher.serial : `${dispatcher.serial} control`;
    const scripts = new Map([['echo', echo], legacySerialScript]);
    return startLegacyAgent({ version, identity, trusted: [line], scripts, ...options });
  }

  async function peers(version: LegacyVersion, options: Partial<LegacyAgentOptions> = {}) {
    const { ca, dispatcher: identity } = installation();
    const agent = await agentOf(version, options);
    return { agent, dispatcher: legacyDispatcher({ version, identity, ca, bits: 2048 }) };
  }

  /** Sends bytes to a port as the dispatcher; all that comes back until the connection ends. */
  async function send(port: number, bytes: string | Buffer): Promise<string> {
    const socket = await openTls(port, installation().dispatcher);
    const answer = received(socket);
    socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
    return answer;
  }

  return { installation, agentOf, peers, send };
}

/** The head of a message, the empty line included, and its body. */
export function parts(message: string): { readonly head: string; readonly body: string } {
  const at = message.indexOf('\r\n\r\n') + 4;
  return { head: message.slice(0, at), body: message.slice(at) };
}

/** An answer's status and what its JSON says. */
export function answered(message: string): { readonly status: string; readonly body: unknown } {
  const { head, body } = parts(message);
  return { status: head.slice(9, head.indexOf('\r\n')), body: JSON.parse(body) };
}

/** A request with a body and its length. */
export const posted = (path: string, body: string): string =>
  `POST ${path} HTTP/1.1\r\nHost: vm\r\nContent-Length: ${Buffer.byteLength(body, 'latin1')}\r\n\r\n${body}`;
