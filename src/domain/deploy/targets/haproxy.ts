import { ok } from 'neverthrow';
import { command, filePath } from '../fields.js';
import { ownership, target, wanted } from './target.js';

export const haproxy = target(
  'HAProxy',
  { pem_path: filePath, reload_command: command, ...ownership('pem') },
  (settings, { leaf, chain, key }) =>
    ok({ files: [wanted('pem', settings.pem_path, leaf + chain + key, settings)] }),
);
