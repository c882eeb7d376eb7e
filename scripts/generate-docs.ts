/**
 * Writes `.env.example` and `docs/configuration.md` from the schema of options. With `--check` it writes nothing and
 * fails where a file is not in step.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { envNameOf, isRepeatable, type OptionDescriptor, ROLES, type Role } from '../src/config/descriptor.ts';
import { type OptionName, optionsOf } from '../src/config/options.ts';

const ROOT = join(import.meta.dirname, '..');

const TITLES: Readonly<Record<Role, string>> = {
  router: '`relay router`',
  connector: '`relay connector`',
  app: '`relay app`',
  token: '`relay token create`',
};

/** The generated files by their path from the root of the project. */
export function generateDocs(): Readonly<Record<string, string>> {
  return { '.env.example': envExample(), 'docs/configuration.md': configurationPage() };
}

function configurationPage(): string {
  return `<!-- Made by \`npm run docs\` from src/config/schema: change it there. -->

# Configuration

Every option is a flag, an environment variable and a line of \`.env\`: \`--data-dir\` is \`RELAY_DATA_DIR\`. Flags win over
the environment, the environment over the file, the file over the default. \`relay ROLE --print-config\` shows each value
and where it came from, with secrets masked; \`relay ROLE --help\` says the same as this page. A flag that does not exist or
a value that cannot be read is an error (exit 2) that names it.

## Values

| kind | written as |
|---|---|
| time | \`250ms\`, \`30s\`, \`10m\`, \`24h\`, \`7d\`, also \`1h30m\`; a bare number is refused, since it could be anything |
| size | bytes, or with a unit: \`KiB\`, \`MiB\`, \`GiB\`, \`TiB\` (\`K\`, \`M\`, \`G\`, \`T\` are the same) and \`kB\`, \`MB\`, \`GB\`, \`TB\` |
| yes or no | as a flag \`--hidden\` or \`--no-hidden\`; as a variable \`true\`, \`1\`, \`yes\`, \`on\`, \`false\`, \`0\`, \`no\`, \`off\` |
| path | relative ones start from the directory that relay is started in |
| URL | \`http://\` or \`https://\`, without user name, password, query or fragment |
| proxy | \`none\`, or a URL as above that may go without \`http://\`; as a variable it may hold a user name and a password |
| several | the flag may be repeated; a variable has commas between them: \`RELAY_LABEL=site=oslo,line=3\` |

An empty variable counts as none. Of a flag that is given twice the last one counts.

## The file \`.env\`

It is looked for in the directory that relay is started in; \`--env-file FILE\` names another. Only \`RELAY_*\` and \`AWS_*\`
are taken from it, since other programs may use the same file. It is refused when its group or everybody may write it, or
when it belongs to somebody else than you or root: who can write it decides where the data goes. \`chmod go-w .env\` helps.
[\`.env.example\`](../.env.example) is one to begin with.

${ROLES.map(roleSection).join('\n')}
## Credentials of the object store

Access to S3-compatible storage is what the AWS SDK reads by itself, from the environment, from \`.env\` or from
\`~/.aws\`: \`AWS_ACCESS_KEY_ID\`, \`AWS_SECRET_ACCESS_KEY\`, \`AWS_SESSION_TOKEN\`, \`AWS_PROFILE\` and the rest. Only the router
needs them; nodes and apps get signed URLs.
`;
}

function roleSection(role: Role): string {
  const rows = optionsOf(role).map(([name, option]) => row(name, option, role));
  return `## ${TITLES[role]}

| flag | variable | default | meaning |
|---|---|---|---|
${rows.join('\n')}
`;
}

function row(name: OptionName, option: OptionDescriptor, role: Role): string {
  const negatable = option.kind === 'boolean' && option.default !== 'false' ? ` or \`--no-${name}\`` : '';
  const value = option.kind === 'boolean' ? '' : ` ${option.placeholder ?? ''}`;
  const flag = `${option.alias ? `\`-${option.alias}\`, ` : ''}\`--${name}${value}\`${negatable}`;
  const variables = option.flagOnly ? [] : [envNameOf(name), ...(option.alsoEnv ?? [])];
  const values = option.values ? `: ${option.values.map((each) => `\`${each}\``).join(', ')}` : '';
  const cells = [
    option.secret ? '(none)' : flag,
    variables.map((variable) => `\`${variable}\``).join(', else '),
    option.requiredFor?.includes(role) ? '**required**' : defaultOf(option),
    `${option.summary}${values}`,
  ];
  return `| ${cells.map((cell) => cell.replaceAll('|', String.raw`\|`)).join(' | ')} |`;
}

function defaultOf(option: OptionDescriptor): string {
  if (option.defaultText) return option.defaultText;
  if (option.kind === 'boolean' && option.default === 'false') return 'no';
  return option.default === undefined ? '' : `\`${option.default}\``;
}

function envExample(): string {
  const sections = ROLES.map((role) => {
    // What several roles share is told once, with the first of them.
    const mine = optionsOf(role).filter(([, option]) => !option.flagOnly && option.roles[0] === role);
    return `# ---- ${TITLES[role].replaceAll('`', '')} ----\n\n${mine.map(([name, option]) => envEntry(name, option)).join('\n')}`;
  });
  return `# Made by \`npm run docs\` from src/config/schema: change it there.
#
# Copy it to .env in the directory that relay is started in, and take away the # of what you set. Nobody else may write
# the file: chmod go-w .env. Flags and the environment win over it. docs/configuration.md has more.

${sections.join('\n')}
# ---- the object store (relay router), as the AWS SDK reads it ----

# AWS_ACCESS_KEY_ID=
# AWS_SECRET_ACCESS_KEY=
# AWS_REGION=us-east-1
# AWS_ENDPOINT_URL_S3=http://127.0.0.1:9000
`;
}

function envEntry(name: OptionName, option: OptionDescriptor): string {
  const others = option.roles.slice(1);
  const notes = [
    option.values ? `one of ${option.values.join(', ')}` : '',
    isRepeatable(option) ? `${option.placeholder}, with commas between several` : '',
    option.requiredFor ? `required by relay ${option.requiredFor.join(', relay ')}` : '',
    option.defaultText ? `default: ${option.defaultText}` : '',
    others.length > 0 ? `also for relay ${others.join(', relay ')}` : '',
  ].filter(Boolean);
  const comment = `# ${option.summary}${notes.length > 0 ? ` (${notes.join('; ')})` : ''}.`;
  return `${comment}\n# ${envNameOf(name)}=${option.default ?? ''}\n`;
}

function main(check: boolean): void {
  const stale = Object.entries(generateDocs()).filter(([path, text]) => read(join(ROOT, path)) !== text);
  if (!check) {
    for (const [path, text] of stale) writeFileSync(join(ROOT, path), text);
  } else if (stale.length > 0) {
    process.stderr.write(`not in step with the options: ${stale.map(([path]) => path).join(', ')}; run npm run docs\n`);
    process.exitCode = 1;
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

if (import.meta.main) main(process.argv.includes('--check'));
