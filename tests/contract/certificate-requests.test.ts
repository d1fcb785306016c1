import { x509CertificateRequests } from '../../src/adapters/x509/certificate-requests.js';
import { certificateRequestsContract } from './certificate-requests.contract.js';

certificateRequestsContract('x509', x509CertificateRequests);
