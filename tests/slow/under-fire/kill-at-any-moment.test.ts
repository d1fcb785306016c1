import { describeKilledCommands } from '../../support/kill/suite.js';

// A few moments of some of the commands; tests/full has all of them.
const { KILL_SEED: seed = String(Date.now()) } = process.env;

describeKilledCommands(20, seed, [
  'setup-ca',
  'setup-ctrl-exec --yes',
  'request-pairing, codes compared',
  'installation of a pairing',
  'edit-agent',
  'import-state of a control host',
  'import-state of an agent',
  'run',
]);
