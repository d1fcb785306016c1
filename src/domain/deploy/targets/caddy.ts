import { err, ok } from 'neverthrow';
import { type Field, oneOf, optional } from '../../core/decode.js';
import { fileName, filePath, plainPath } from '../fields.js';
import { ownership, separateFiles, target } from './target.js';

const loopback = /^http:\/\/(localhost|127(?:\.\d{1,3}){3}|\[::1\])(:\d{1,5})?\/?$/i;

/** The private key is sent there, and keys do not leave their host: it must be this one. */
const adminApi: Field<string> = {
  form: 'an http URL of this host without a path (localhost, 127.0.0.1 or [::1]) or unix//path/of/a.sock: the private key is sent there',
  read: (value) => {
    if (typeof value !== 'string') return undefined;
    const path = /^unix\/(\/.+)$/.exec(value)?.[1];
    if (path !== undefined) return plainPath(path) && `unix/${plainPath(path)}`;
    return loopback.test(value) ? value.replace(/\/$/, '') : undefined;
  },
};

export const caddy = target(
  'Caddy',
  {
    mode: optional(oneOf('api', 'file')),
    admin_api: optional(adminApi),
    cert_dir: optional(filePath),
    cert_file: optional(fileName),
    key_file: optional(fileName),
    ...ownership('cert'),
    ...ownership('key'),
  },
  (settings, material) => {
    if (settings.mode !== 'file')
      return ok({
        adminApi: settings.admin_api ?? 'http://localhost:2019',
        validate: undefined,
        reload: undefined,
      });
    const directory = settings.cert_dir;
    if (directory === undefined) return err('member "cert_dir" is missing: mode "file" writes there');
    const places = {
      cert: `${directory}/${settings.cert_file ?? 'cert.pem'}`,
      key: `${directory}/${settings.key_file ?? 'key.pem'}`,
    };
    return ok({ files: separateFiles(places, material, settings, directory) });
  },
);
