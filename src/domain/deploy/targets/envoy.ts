import { ok } from 'neverthrow';
import { optional } from '../../core/decode.js';
import { fileName, filePath, flag } from '../fields.js';
import { ownership, separateFiles, target, wanted } from './target.js';

/** The file that Envoy's secret discovery reads, version 3 of the API: one secret, `server_cert`. */
const secretDiscovery = (certificate: string, key: string): string =>
  `${JSON.stringify(
    {
      resources: [
        {
          '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret',
          name: 'server_cert',
          tls_certificate: {
            certificate_chain: { filename: certificate },
            private_key: { filename: key },
          },
        },
      ],
    },
    undefined,
    2,
  )}\n`;

/** It watches the files that its secret discovery names: there is nothing to reload. */
export const envoy = target(
  'Envoy',
  {
    cert_dir: filePath,
    cert_filename: optional(fileName),
    key_filename: optional(fileName),
    chain_filename: optional(fileName),
    sds_config: optional(flag),
    ...ownership('cert'),
    ...ownership('chain'),
    ...ownership('key'),
  },
  (settings, material) => {
    const directory = settings.cert_dir;
    const cert = `${directory}/${settings.cert_filename ?? 'cert.pem'}`;
    const key = `${directory}/${settings.key_filename ?? 'key.pem'}`;
    const chain = settings.chain_filename && `${directory}/${settings.chain_filename}`;
    const files = separateFiles({ cert, chain, key }, material, settings, directory);
    if (settings.sds_config !== true) return ok({ files });
    const discovery = wanted('sds', `${directory}/sds.json`, secretDiscovery(cert, key), {}, directory);
    return ok({ files: [...files, discovery] });
  },
);
