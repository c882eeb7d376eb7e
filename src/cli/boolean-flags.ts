import { OPTIONS } from '../config/options.ts';
import { parseValue } from '../config/values.ts';

/**
 * Rewrites `--flag=true` and `--flag=no` of boolean options to `--flag` and `--no-flag`: yargs takes any text that is
 * not `true` for false.
 * @throws {RelayError} `usage` for a text that is neither
 */
export function joinBooleans(argv: readonly string[]): string[] {
  const end = argv.indexOf('--');
  return argv.map((word, index) => {
    const [, name = '', text = ''] = /^--([a-z][a-z0-9-]*)=(.*)$/s.exec(word) ?? [];
    if ((end >= 0 && index > end) || !Object.hasOwn(OPTIONS, name)) return word;
    const option = OPTIONS[name as keyof typeof OPTIONS];
    if (option.kind !== 'boolean') return word;
    return parseValue(name, option, [text], { from: 'flag' }, '/') === true ? `--${name}` : `--no-${name}`;
  });
}
