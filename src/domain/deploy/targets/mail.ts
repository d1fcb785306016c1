import { ok } from 'neverthrow';
import { oneOf, optional } from '../../core/decode.js';
import type { Command } from '../command.js';
import { filePath } from '../fields.js';
import { ownership, separateFiles, target } from './target.js';

type Mode = 'postfix' | 'dovecot';

const commands: Readonly<Record<Mode, { readonly validate: Command; readonly reload: Command }>> = {
  postfix: {
    validate: { program: 'postfix', args: ['check'] },
    reload: { program: 'postfix', args: ['reload'] },
  },
  dovecot: {
    validate: { program: 'doveconf', args: ['-n'] },
    reload: { program: 'doveadm', args: ['reload'] },
  },
};

const mailServer = (type: string, usual: Mode) =>
  target(
    type,
    {
      mode: optional(oneOf('postfix', 'dovecot')),
      cert_path: optional(filePath),
      chain_path: optional(filePath),
      key_path: optional(filePath),
      ...ownership('cert'),
      ...ownership('chain'),
      ...ownership('key'),
    },
    (settings, material) => {
      const mode = settings.mode ?? usual;
      const places = {
        cert: settings.cert_path ?? `/etc/${mode}/certs/cert.pem`,
        chain: settings.chain_path,
        key: settings.key_path ?? `/etc/${mode}/certs/key.pem`,
      };
      return ok({
        files: separateFiles(places, material, settings),
        validate: settings.validate_command ?? commands[mode].validate,
        reload: settings.reload_command ?? commands[mode].reload,
      });
    },
  );

export const postfix = mailServer('Postfix', 'postfix');
export const dovecot = mailServer('Dovecot', 'dovecot');
