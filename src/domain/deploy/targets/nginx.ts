import { ok } from 'neverthrow';
import { optional } from '../../core/decode.js';
import { command, filePath } from '../fields.js';
import { ownership, separateFiles, target } from './target.js';

/** Certificate, chain and key in a file each, for a server that is asked whether it likes them and then to reload. */
const webServer = (type: string) =>
  target(
    type,
    {
      cert_path: filePath,
      chain_path: optional(filePath),
      key_path: optional(filePath),
      validate_command: command,
      reload_command: command,
      ...ownership('cert'),
      ...ownership('chain'),
      ...ownership('key'),
    },
    (settings, material) => {
      const { cert_path: cert, chain_path: chain, key_path: key } = settings;
      return ok({ files: separateFiles({ cert, chain, key }, material, settings) });
    },
  );

export const nginx = webServer('NGINX');
export const apache = webServer('Apache');
