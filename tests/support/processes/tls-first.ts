// Loaded before the first test of a worker: where `tls` is first loaded after tests of broken keys and certificates, it was
// seen to stay half loaded, without createSecureContext, for every later file of the worker.
import 'node:tls';
