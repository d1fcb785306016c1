import type { Command } from 'commander';
import { wholeNumber } from '../command-line.js';

/** What several commands take, as commander has it. */

export const port = wholeNumber(1, 65_535);
export const seconds = wholeNumber(1, 604_800);

export const json = (command: Command): Command => command.option('--json', 'print JSON');

export const governed = (command: Command): Command =>
  json(command)
    .option('--username <name>', 'who asks, for the auth hook (default: $USER)')
    .option(
      '--token <token>',
      'for the auth hook (shows in process lists: prefer --token-file or $ENVEXEC_TOKEN)',
    )
    .option('--token-file <path>', 'read the token from the first line of a file');

export const reached = (command: Command): Command =>
  governed(command).option('--port <port>', 'port of the agents, instead of the stored one', port);

export const tagged = (command: Command): Command =>
  reached(command).option('--tags <tags>', 'the agents with these tags instead of named hosts, k=v,…');
