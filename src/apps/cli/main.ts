import { execute } from '../command-line.js';
import { args, cli } from './program.js';

await execute(cli, args);
