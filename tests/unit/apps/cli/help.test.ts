import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { cli as agent } from '../../../../src/apps/agent/program.js';
import { cli as dispatcher } from '../../../../src/apps/cli/program.js';

const helpOf = (command: Command): string => {
  let help = '';
  command.configureOutput({
    writeOut(text) {
      help += text;
    },
  });
  command.outputHelp();
  return help;
};

/** A command and those below it, each with the words that call it. */
const below = (command: Command, words = command.name()): readonly (readonly [string, Command])[] => [
  [words, command],
  ...command.commands.flatMap((each) => below(each, `${words} ${each.name()}`)),
];

const commands = [dispatcher, agent].flatMap((program) => below(program).slice(1));

describe('help', () => {
  it.each(commands)('of %s has an example, the place, and a usage without empty words', (words, command) => {
    const help = helpOf(command);
    expect(help).toMatch(new RegExp(`\n\nExample:\n  ${words}( [^\n]+)?\n$`));
    expect(help).toContain('  --home <dir>');
    if (command.options.length === 0) expect(help.split('\n', 1)[0]).not.toContain('[options]');
  });

  it.each([dispatcher, agent])('of the program has every command in a group', (program) => {
    const help = helpOf(program);
    expect(help).toMatch(/^Usage: ctrl-exec(-agent)? \[--home <dir>\] \[--config <path>\] <command>\n/);
    expect(help).not.toContain('[options]');
    expect(help.slice(help.indexOf('\nCommands:'))).toMatch(/^\nCommands:\n {2}help \[command\] [^\n]*\n$/);
  });
});
