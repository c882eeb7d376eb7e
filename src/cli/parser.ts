import yargs, { type Argv } from 'yargs';
import { OPTIONS } from '../config/options.ts';
import { closest } from '../config/suggest.ts';
import { RelayError } from '../protocol/errors.ts';

/**
 * An empty parser that takes words as they are, refuses what it does not know, and throws where yargs would exit.
 * @param words the command line, for telling flags from other words in complaints
 * @param commands what a mistyped command may have meant
 */
export function createYargs(words: readonly string[] = [], commands: readonly string[] = []): Argv {
  return yargs([])
    .scriptName('relay')
    .locale('en')
    .parserConfiguration({
      'camel-case-expansion': false,
      'dot-notation': false,
      'parse-numbers': false,
      'parse-positional-numbers': false,
      'greedy-arrays': false,
    })
    .wrap(Math.min(120, Math.max(80, process.stdout.columns || 100)))
    .strict()
    .exitProcess(false)
    .help('help')
    .alias('help', 'h')
    .version(false)
    .showHelpOnFail(false)
    .fail((message, error) => {
      // yargs gives its own complaints as a message, and what a command threw as an error.
      if (error && error.name !== 'YError') throw error;
      throw new RelayError('usage', explain(message || error.message, words, commands));
    });
}

/** A complaint of yargs with the hyphens that it drops, and with what was probably meant. */
function explain(message: string, words: readonly string[], commands: readonly string[]): string {
  const valueless = /^Not enough arguments following: (.*)$/s.exec(message)?.[1];
  if (valueless !== undefined) return `--${valueless} needs a value`;
  const unknown = /^Unknown (?:argument|command)s?: (.*)$/s.exec(message)?.[1];
  if (unknown === undefined) return message;
  const complaints = unknown.split(', ').map((name) => {
    const flag = words.find((word) => isFlag(word, name));
    if (flag === undefined) return suggest(`${JSON.stringify(name)} is not expected here`, closest(name, commands));
    const guess = closest(flag.replace(/^--?|=.*$/gs, ''), Object.keys(OPTIONS));
    return suggest(`${flag.replace(/=.*$/s, '')} is not an option here`, guess && `--${guess}`);
  });
  return [...new Set(complaints)].join('\n');
}

/** Whether yargs would have found `name` in `word`; of `-port` it makes four names of a letter each. */
function isFlag(word: string, name: string): boolean {
  if (/^-[^-]/.test(word)) return name.length === 1 && word.includes(name);
  return [`--${name}`, `--no-${name}`].some((flag) => word === flag || word.startsWith(`${flag}=`));
}

function suggest(complaint: string, guess: string | undefined): string {
  return guess ? `${complaint}; is ${guess} meant?` : complaint;
}
