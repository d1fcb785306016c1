import type { Request } from 'express';
import type { Caller } from '../../../sdk/dispatcher/fleet/authorise.js';
import type { JsonObject } from './body.js';

const textOf = (body: JsonObject | undefined, member: string): string | undefined => {
  const value = body?.[member];
  return typeof value === 'string' ? value : undefined;
};

/** `Basic` (RFC 7617, UTF-8): the token stands where a password would. */
function basic(header: string): Pick<Caller, 'username' | 'token'> | undefined {
  const [, encoded] = /^basic +([A-Za-z0-9+/=_-]+) *$/i.exec(header) ?? [];
  if (encoded === undefined) return undefined;
  const pair = Buffer.from(encoded, 'base64').toString('utf8');
  const colon = pair.indexOf(':');
  return colon < 0 ? undefined : { username: pair.slice(0, colon), token: pair.slice(colon + 1) };
}

const bearer = (header: string): string | undefined => /^bearer +(\S+) *$/i.exec(header)?.[1];

/** The address of the peer, or of whom the application trusts a proxy to name; IPv4 as such. */
const addressOf = ({ ip }: Request): string | undefined =>
  ip?.replace(/^::ffff:(?=\d+\.\d+\.\d+\.\d+$)/i, '');

/**
 * Who asks, as far as the request says: `username` and `token` of the body, else the `Authorization` header. A bearer token
 * may go with a `username` of the body; a pair of `Basic` is taken whole or not at all.
 */
export function callerOf(request: Request, body: JsonObject | undefined): Caller {
  const header = request.headers.authorization ?? '';
  const username = textOf(body, 'username');
  const token = textOf(body, 'token');
  const sourceIp = addressOf(request);
  const named = username === undefined && token === undefined ? basic(header) : undefined;
  return {
    username: named?.username ?? username ?? '',
    token: named?.token ?? token ?? bearer(header) ?? '',
    ...(sourceIp !== undefined && { sourceIp }),
  };
}
