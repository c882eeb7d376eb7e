import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { main } from '../../../src/cli/run.ts';
import { envNameOf, type Role } from '../../../src/config/descriptor.ts';
import { optionsOf } from '../../../src/config/options.ts';
import { FakeIo } from './fake-io.ts';

async function relay(
  words: string,
  env: Record<string, string> = {},
): Promise<{ code: number; out: string; err: string }> {
  const io = new FakeIo(env);
  const code = await main(words.split(' ').filter(Boolean), io);
  return { code, out: io.out, err: io.err };
}

/** Help without its line breaks, which depend on the width. */
const unfold = (text: string): string => text.replace(/\s+/g, ' ');

describe('--version', () => {
  const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '../../../package.json'), 'utf8')) as {
    version: string;
  };

  test.each(['--version', 'router --version'])('%s', async (words) => {
    expect(await relay(words)).toEqual({ code: 0, out: `${version}\n`, err: '' });
  });
});

describe('--help', () => {
  test('names the commands', async () => {
    const { code, out, err } = await relay('--help');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    for (const command of ['router', 'connector', 'app', 'demo', 'completion'])
      expect(out).toContain(`relay ${command}`);
  });

  test.each<Role>(['router', 'connector'])('of %s tells every option, its variable and its default', async (role) => {
    const { code, out } = await relay(`${role} --help`);
    expect(code).toBe(0);
    const help = unfold(out);
    for (const [name, option] of optionsOf(role)) {
      // Arguments can be read by other users, so a secret is never a flag.
      if (option.secret) {
        expect(help).not.toContain(`--${name} `);
        continue;
      }
      expect(help).toContain(`--${name} `);
      expect(help).toContain(unfold(option.summary));
      const variable = option.flagOnly ? '' : envNameOf(name);
      expect(help).toContain(variable);
      const isDefaultTold = option.kind !== 'boolean' && !option.requiredFor?.includes(role);
      expect(help).toContain(isDefaultTold && option.default ? `[default: ${option.default}]` : '');
    }
  });
});

describe('a wrong command line ends with 2, names what is wrong and points to the help', () => {
  test.each([
    ['', /a command is missing: router/, ''],
    ['ruter', /"ruter" is not expected here; is router meant\?/, ''],
    ['router --prot 80', /--prot is not an option here; is --port meant\?/, ' router'],
    ['router -port 80', /-port is not an option here; is --port meant\?/, ' router'],
    ['router --no-insecure-no-auht', /--no-insecure-no-auht is not an option here/, ' router'],
    ['router extra', /"extra" is not expected here/, ' router'],
    ['router --data-dir x', /--data-dir is not an option here/, ' router'],
    ['router --port', /--port needs a value/, ' router'],
    ['router --port abc', /--port: "abc" is not a whole number/, ' router'],
    ['router --url-ttl 30', /--url-ttl: "30" is not a time/, ' router'],
    ['router --store ftp://x', /--store/, ' router'],
    ['router --host 0.0.0.0', /beyond loopback/, ' router'],
    ['router --tls-cert x.pem', /--tls-cert needs --tls-key/, ' router'],
    ['connector --hidden=maybe', /--hidden: "maybe" is neither true nor false/, ' connector'],
    ['connector --router http://127.0.0.1:1', /--mac is missing \(or RELAY_MAC\)/, ' connector'],
    [
      'connector --ca /nowhere/ca.pem --mac cc28aa010203 --data-dir x --router http://127.0.0.1:1',
      /--ca/,
      ' connector',
    ],
    ['router --env-file missing.env', /missing\.env/, ' router'],
    ['completion tcsh', /none for tcsh/, ' completion'],
    ['app', /command of app is missing/, ' app'],
    ['app request-sync cc28aa010203 x --cout 1', /--cout is not an option here/, ' app'],
    ['router --prot 80 --print-config', /--prot is not an option here/, ' router'],
  ])('relay %s', async (words, why, command) => {
    const { code, out, err } = await relay(words);
    expect(err).toMatch(why);
    expect(err).toMatch(/^relay: /);
    expect(err).toContain(`Try \`relay${command} --help\`.`);
    expect({ code, out }).toEqual({ code: 2, out: '' });
  });

  test('a bad variable is named', async () => {
    const { code, err } = await relay('router', { RELAY_PORT: 'abc' });
    expect(code).toBe(2);
    expect(err).toMatch(/--port \(RELAY_PORT in the environment\): "abc"/);
  });
});

describe('--print-config', () => {
  test.each([
    ['router', 'host'],
    ['connector', 'mac'],
    ['app', 'retry'],
    ['app request-stream cc28aa010203 x', 'retry'],
  ])('of %s needs nothing else', async (words, name) => {
    const { code, out, err } = await relay(`${words} --print-config`);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toMatch(new RegExp(`^${name} `, 'm'));
  });

  test('shows flags, also of yes and no, and masks secrets', async () => {
    const { out } = await relay('router --port=1 --port=2 --no-insecure-no-auth --s3-path-style=no --print-config', {
      AWS_SECRET_ACCESS_KEY: 'hunter2',
    });
    expect(out).toMatch(/^port +2 +--port$/m);
    expect(out).toMatch(/^insecure-no-auth +false +--insecure-no-auth$/m);
    expect(out).toMatch(/^s3-path-style +false +--s3-path-style$/m);
    expect(out).not.toContain('hunter2');
  });
});

describe('completion', () => {
  test.each([
    ['completion bash', {}, 'complete -o'],
    ['completion zsh', {}, 'compdef'],
    ['completion', { SHELL: '/usr/bin/zsh' }, 'compdef'],
    ['completion', {}, 'complete -o'],
  ])('relay %s prints a script', async (words, env, part) => {
    const { code, out } = await relay(words, env);
    expect(code).toBe(0);
    expect(out).toContain(part);
  });

  test.each([
    ['relay rou', 'router'],
    ['relay connector --tr', '--transport'],
    ['relay connector --transport s', 'sse'],
    ['relay app req', 'request-offload'],
    ['relay app request-stream --out', '--output'],
  ])('%s goes on', async (words, candidate) => {
    const { code, out } = await relay(`--get-yargs-completions ${words}`);
    expect(code).toBe(0);
    // Under zsh each has its description behind a colon.
    expect(out.split('\n').map((line) => line.split(':')[0])).toContain(candidate);
  });
});

test('a router that cannot be reached ends with 8 and says what to look at', async () => {
  const { code, err } = await relay('app connectors --router http://127.0.0.1:1 --retry 0');
  expect(code).toBe(8);
  expect(err).toMatch(/--router \(RELAY_ROUTER\)/);
});
