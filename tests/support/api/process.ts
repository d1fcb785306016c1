import { chmodSync, writeFileSync } from 'node:fs';
import { type IncomingHttpHeaders, request as plainRequest } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type CommandOptions, type Started, start } from '../commands/commands.js';
import { eventually } from '../fleet/fleet.js';

/** Where an API listens, as clients need it. */
type ApiAddress = { readonly port: number; readonly ca?: string } | { readonly socketPath: string };

interface ApiAnswer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: what tests expect of it is what they check
  readonly json: any;
}

interface AskOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly signal?: AbortSignal;
}

/** One request over a connection of its own. */
export const askApi = (at: ApiAddress, path: string, options: AskOptions = {}): Promise<ApiAnswer> =>
  new Promise((resolve, reject) => {
    const { body, signal } = options;
    const bytes = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
    const method = options.method ?? (bytes ? 'POST' : 'GET');
    const place =
      'socketPath' in at
        ? at
        : { host: '127.0.0.1', port: at.port, ...(at.ca !== undefined && { ca: at.ca }) };
    const request = 'ca' in place ? tlsRequest : plainRequest;
    const asked = request(
      {
        ...place,
        path,
        method,
        agent: false,
        headers: {
          ...(bytes && { 'content-type': 'application/json', 'content-length': bytes.length }),
          ...options.headers,
        },
        ...(signal && { signal }),
      },
      (response) => {
        const parts: Buffer[] = [];
        response.on('data', (part: Buffer) => parts.push(part));
        response.on('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(parts).toString('utf8');
          const isJson = (response.headers['content-type'] ?? '').startsWith('application/json');
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            text,
            json: isJson ? JSON.parse(text) : undefined,
          });
        });
      },
    );
    asked.on('error', reject);
    asked.end(bytes);
  });

export interface ApiProcess {
  readonly process: Started;
  /** Of the first TCP port. */
  readonly port: number;
  ask(path: string, options?: AskOptions): Promise<ApiAnswer>;
  /** Sends SIGHUP, and waits for what the log has to say of it. */
  reload(): Promise<string>;
}

/** Starts `ctrl-exec-api` on a port that the system chooses, unless `args` say otherwise, and waits until it listens. */
export async function serveApi(
  home: string,
  args: readonly string[] = ['--port', '0'],
  options: CommandOptions & { readonly ca?: string } = {},
): Promise<ApiProcess> {
  const process = start('ctrl-exec-api', args, { home, ...options });
  const listening = await process.shows(/Listening on (.*)\n/, 'stderr');
  const port = Number(/https?:\/\/\S*:(\d+)/.exec(listening)?.[1] ?? 0);
  const reloads = () => process.output('stderr').split('ACTION=api-reload').length - 1;
  return {
    process,
    port,
    ask: (path, asked) => askApi({ port, ...(options.ca !== undefined && { ca: options.ca }) }, path, asked),
    async reload() {
      const before = reloads();
      process.child.kill('SIGHUP');
      const line = new RegExp(`(?:ACTION=api-reload[\\s\\S]*?){${before}}(ACTION=api-reload.*)\\n`);
      return process.shows(line, 'stderr');
    },
  };
}

/** Replaces the configuration of a dispatcher. */
export const setSettings = ({ home }: { readonly home: string }, lines: string): void =>
  writeFileSync(
    join(home, 'ctrl-exec.conf'),
    `dispatcher_id = control\npairing_bind = 127.0.0.1\n${lines}\n`,
  );

/** An auth hook that lets everybody in, or a shell script. */
export function authHook({ home }: { readonly home: string }, script = 'exit 0'): string {
  const path = join(home, 'hook');
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

/** Resolves once nothing listens on a port of this host any more. */
export const stopsListening = (port: number): Promise<void> =>
  eventually(
    () =>
      new Promise<void>((resolve, reject) => {
        const socket = connect({ host: '127.0.0.1', port });
        socket.once('error', () => resolve());
        socket.once('connect', () => {
          socket.destroy();
          reject(new Error('it still listens'));
        });
      }),
  );
