import { errorMessage } from '../../domain/core/thrown.js';
import 'reflect-metadata';
import { Buffer } from 'node:buffer';
import {
  type Extension,
  Name,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
} from '@peculiar/x509';
import { err, ok, type Result, ResultAsync } from 'neverthrow';
import { type CtrlExecError, failure } from '../../domain/core/errors.js';
import type { SubjectNames } from '../../domain/deploy/csr.js';
import type { CertificateRequest, CertificateRequests } from '../../ports/certificate-requests.js';
import { onlyBlock } from '../shared/pem.js';
import { subjectOf } from './certificate-fields.js';
import { importKeyPair } from './key-pair.js';
import { acceptableKey, exportSpki } from './public-key.js';
import { whySignatureFails } from './signature.js';
import { parseRequest } from './signed-request.js';

type Invalid = CtrlExecError<'certificate_invalid'>;

const maxBytes = 10_240;
const labels = ['CERTIFICATE REQUEST', 'NEW CERTIFICATE REQUEST'];

const invalid = (reason: string): Invalid =>
  failure('certificate_invalid', `certificate request cannot be used: ${reason}`, { field: 'csr', reason });

/** Certification requests: made with @peculiar/x509 on WebCrypto, judged by their bytes with node:crypto. */
export const x509CertificateRequests = (): CertificateRequests => ({
  create: (privateKeyPem, commonName, names) =>
    ResultAsync.fromPromise(create(privateKeyPem, commonName, names), (error) => {
      const reason = errorMessage(error);
      return failure('crypto_failed', `cannot make a certificate request: ${reason}`, {
        operation: 'create certificate request',
        reason,
      });
    }),
  read: (pem) => new ResultAsync(Promise.resolve(read(pem))),
});

async function create(
  privateKeyPem: string,
  commonName: string | undefined,
  names?: SubjectNames,
): Promise<string> {
  const { keys, algorithm } = await importKeyPair(privateKeyPem);
  const extensions = names ? alternativeNames(names) : [];
  const request = await Pkcs10CertificateRequestGenerator.create(
    {
      name: commonName === undefined ? new Name([]) : subjectOf(commonName),
      keys,
      signingAlgorithm: algorithm,
      extensions,
    },
    globalThis.crypto,
  );
  return `${request.toString('pem').trimEnd()}\n`;
}

/** No names, no extension: an empty one is malformed (RFC 5280 section 4.2.1.6). */
function alternativeNames({ dnsNames, emails, addresses, uris }: SubjectNames): Extension[] {
  const names = [
    ...dnsNames.map((value) => ({ type: 'dns', value }) as const),
    ...emails.map((value) => ({ type: 'email', value }) as const),
    ...addresses.map((value) => ({ type: 'ip', value }) as const),
    ...uris.map((value) => ({ type: 'url', value }) as const),
  ];
  return names.length === 0 ? [] : [new SubjectAlternativeNameExtension(names)];
}

function read(pem: string): Result<CertificateRequest, Invalid> {
  if (Buffer.byteLength(pem) > maxBytes) return err(invalid(`is longer than ${maxBytes} bytes`));
  const der = onlyBlock(pem, labels);
  if (!der) return err(invalid('expected exactly one PEM block CERTIFICATE REQUEST and nothing else'));
  const request = parseRequest(der);
  if (!request) return err(invalid('is not a well-formed PKCS#10 request'));
  return acceptableKey(request.spki)
    .andThen((key) => {
      const reason = /* defence: csr-is-signed-by-its-key */ whySignatureFails(request, key);
      return reason === undefined ? ok({ der, spki: exportSpki(key) }) : err(reason);
    })
    .mapErr(invalid);
}
