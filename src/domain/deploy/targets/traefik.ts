import { ok } from 'neverthrow';
import { optional } from '../../core/decode.js';
import { fileName, filePath } from '../fields.js';
import { ownership, separateFiles, target } from './target.js';

/** It watches its directory: there is nothing to reload. */
export const traefik = target(
  'Traefik',
  {
    cert_dir: filePath,
    cert_file: optional(fileName),
    key_file: optional(fileName),
    ...ownership('cert'),
    ...ownership('key'),
  },
  (settings, material) => {
    const directory = settings.cert_dir;
    const places = {
      cert: `${directory}/${settings.cert_file ?? 'cert.pem'}`,
      key: `${directory}/${settings.key_file ?? 'key.pem'}`,
    };
    return ok({ files: separateFiles(places, material, settings, directory) });
  },
);
