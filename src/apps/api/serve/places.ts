import { lookup } from 'node:dns/promises';
import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../../domain/core/errors.js';
import { isLoopback, shortestAddress } from '../../../domain/core/ip-prefix.js';
import type { DispatcherSettings } from '../../../domain/settings/dispatcher.js';

/** Where the API listens. `bind` is an address, `port` 0 for one that the system chooses. */
export type ListenPlace =
  | { readonly kind: 'tcp'; readonly bind: string; readonly port: number }
  | { readonly kind: 'socket'; readonly path: string };

/** What the command line says of it. */
export interface ListenOptions {
  readonly port?: number;
  readonly bind?: string;
}

/** Linux takes no longer path for a socket. */
const maxSocketPath = 107;

/**
 * Where to listen: on `api_socket` alone where that is set, unless a port or an address is asked for on the command line or
 * `api_port` is written down; then on both. What other hosts can reach must be TLS, unless `api_plain_http` allows it without:
 * else `config_invalid`.
 */
export function listenPlaces(
  settings: DispatcherSettings,
  options: ListenOptions,
): ResultAsync<readonly ListenPlace[], CtrlExecError<'config_invalid'>> {
  const { apiSocket, file } = settings;
  const invalid = (reason: string) => failure('config_invalid', `${file}: ${reason}`, { file, reason });
  const withPort =
    apiSocket === undefined ||
    settings.apiPortConfigured ||
    options.port !== undefined ||
    options.bind !== undefined;
  const sockets: ListenPlace[] = apiSocket === undefined ? [] : [{ kind: 'socket', path: apiSocket }];
  if (apiSocket !== undefined && Buffer.byteLength(apiSocket) > maxSocketPath)
    return new ResultAsync(
      Promise.resolve(err(invalid(`api_socket is too long, expected at most ${maxSocketPath} bytes`))),
    );
  if (!withPort) return new ResultAsync(Promise.resolve(ok(sockets)));
  const bind = options.bind ?? settings.apiBind;
  return new ResultAsync(addressOf(bind)).mapErr(invalid).andThen((address) => {
    if (settings.apiCert === undefined && !settings.apiPlainHttp && !isLoopback(address))
      return err(
        invalid(
          `the API would be reached by other hosts (${bind}) without TLS: expected api_cert and api_key, an api_bind of 127.0.0.1 or ::1, or an api_socket; api_plain_http = yes allows it behind a proxy that speaks TLS`,
        ),
      );
    return ok([...sockets, { kind: 'tcp', bind: address, port: options.port ?? settings.apiPort } as const]);
  });
}

/** A name is looked up once, so that what is judged is what is listened on. */
async function addressOf(bind: string): Promise<Result<string, string>> {
  const written = shortestAddress(bind.replace(/^\[(.*)\]$/, '$1'));
  if (written !== undefined) return ok(written);
  try {
    return ok((await lookup(bind)).address);
  } catch {
    return err(`api_bind ${bind} does not resolve, expected an IP address such as 127.0.0.1`);
  }
}

/** What whoever runs the API should know about who reaches it, and who may do what; one line each. */
export function exposure(settings: DispatcherSettings, places: readonly ListenPlace[]): readonly string[] {
  const { file, apiAuthDefault, authHook, apiCert } = settings;
  const exposed = places.flatMap((place) =>
    place.kind === 'tcp' && !isLoopback(place.bind) ? [place.bind] : [],
  );
  const open = authHook === undefined && apiAuthDefault === 'allow';
  return [
    ...(authHook === undefined && apiAuthDefault === 'deny'
      ? [
          `${file}: no auth_hook is set and api_auth_default is deny, so every request is refused (403): set auth_hook`,
        ]
      : []),
    ...(exposed.length > 0 && apiCert === undefined
      ? [
          `${file}: api_plain_http: other hosts reach the API at ${exposed.join(', ')} without TLS, so tokens, arguments and output can be read on the way: let only a proxy that speaks TLS reach it`,
        ]
      : []),
    ...(exposed.length > 0 && open
      ? [
          `${file}: api_auth_default is allow without an auth_hook, so every host that reaches ${exposed.join(', ')} may run everything: set auth_hook`,
        ]
      : []),
  ];
}

/** How a place is written. @param port the one that the system chose; default: as asked for */
export const addressText = (place: ListenPlace, secure: boolean, port?: number): string =>
  place.kind === 'socket'
    ? `unix:${place.path}`
    : `${secure ? 'https' : 'http'}://${place.bind.includes(':') ? `[${place.bind}]` : place.bind}:${port ?? place.port}`;
