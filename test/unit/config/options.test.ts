import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { generateDocs } from '../../../scripts/generate-docs.ts';
import { envNameOf, keyOf, type OptionDescriptor } from '../../../src/config/descriptor.ts';
import { OPTIONS } from '../../../src/config/options.ts';
import { parseValue } from '../../../src/config/values.ts';

const ALL = Object.entries<OptionDescriptor>(OPTIONS);

describe('the schema', () => {
  test.each(ALL)('--%s is described', (name, option) => {
    expect(name).toMatch(/^[a-z0-9]+(-[a-z0-9]+)*$/);
    expect(option.summary).toMatch(/^[A-Z].*[^.]$/);
    const mustHave = [
      ...(option.derive ? [option.defaultText] : []),
      ...(option.kind === 'boolean' ? [] : [option.placeholder]),
      ...(option.kind === 'enum' ? (option.values ?? [undefined]) : []),
    ];
    expect(mustHave).not.toContain(undefined);
  });

  test.each(
    ALL.flatMap(([name, option]) => (option.default === undefined ? [] : [[name, option.default, option] as const])),
  )('--%s has a default that can be read: %s', (name, text, option) => {
    expect(parseValue(name, option, [text], { from: 'default' }, '/')).toBeDefined();
  });

  test('names variables and members after the flags', () => {
    expect(envNameOf('data-dir')).toBe('RELAY_DATA_DIR');
    expect(keyOf('data-dir', OPTIONS['data-dir'])).toBe('dataDir');
    expect(keyOf('url-ttl', OPTIONS['url-ttl'])).toBe('urlTtlMs');
    expect(keyOf('store-max', OPTIONS['store-max'])).toBe('storeMaxBytes');
  });

  test('no two options fill the same member or answer to the same letter', () => {
    const keys = ALL.map(([name, option]) => keyOf(name, option));
    expect(new Set(keys).size).toBe(keys.length);
    const letters = ALL.flatMap(([, option]) => option.alias ?? []);
    expect(new Set(letters).size).toBe(letters.length);
  });
});

describe('what is made from the schema', () => {
  const root = join(import.meta.dirname, '../../..');

  test.each(Object.entries(generateDocs()))('%s is in step (else: npm run docs)', (path, text) => {
    expect(readFileSync(join(root, path), 'utf8')).toBe(text);
  });

  test.each(ALL)('--%s is on the page', (name) => {
    expect(generateDocs()['docs/configuration.md']).toContain(`\`--${name}`);
  });

  test.each(ALL.filter(([, option]) => !option.flagOnly))('--%s is in .env.example', (name) => {
    expect(generateDocs()['.env.example']).toMatch(new RegExp(`^# ${envNameOf(name)}=`, 'm'));
  });
});
