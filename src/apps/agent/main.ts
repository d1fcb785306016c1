import { complain, execute, exitCodes } from '../command-line.js';
import { cli } from './program.js';

if (process.argv.length <= 2) {
  complain(cli.helpInformation());
  process.exitCode = exitCodes.usage;
} else await execute(cli, process.argv.slice(2));
