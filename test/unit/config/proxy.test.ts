import { describe, expect, test } from '@jest/globals';
import { printConfig } from '../../../src/config/print.ts';
import { readProxySettings } from '../../../src/config/proxy.ts';
import { resolveConfig } from '../../../src/config/resolve.ts';
import { Workspace } from './workspace.ts';

const proxyOf = (flags: Record<string, string>, env: Record<string, string>): URL | 'none' | undefined =>
  resolveConfig('app', flags, { env, cwd: '/' }).values.proxy;

describe('the proxies of the environment', () => {
  test('come from either case, the lower one first, and may go without a scheme', () => {
    const settings = readProxySettings(undefined, {
      HTTPS_PROXY: 'http://upper:1',
      https_proxy: 'user:p%40ss@lower:2',
      HTTP_PROXY: 'https://plain:3',
      no_proxy: 'a.test',
    });
    expect(settings.https?.href).toBe('http://user:p%40ss@lower:2/');
    expect(settings.http?.href).toBe('https://plain:3/');
    expect(settings).toMatchObject({ noProxy: 'a.test', includesLoopback: false });
  });

  test('give way to --proxy, which NO_PROXY still narrows', () => {
    const env = { HTTPS_PROXY: 'http://env:1', NO_PROXY: 'a.test' };
    const own = readProxySettings(new URL('http://own:1'), env);
    expect(own).toMatchObject({ noProxy: 'a.test', includesLoopback: true });
    expect([own.http?.host, own.https?.host]).toEqual(['own:1', 'own:1']);
    expect(readProxySettings('none', { HTTPS_PROXY: 'nonsense://x' })).toMatchObject({
      http: undefined,
      https: undefined,
    });
  });

  test.each(['socks5://u:s3cret@p:1', 'http://u:s3cret@p:1/path', 'http://u:s3cret%@p:1', 'http://u:s3cret@:1'])(
    'are refused as %s, without a word of the password',
    (text) => {
      const read = (): unknown => readProxySettings(undefined, { https_proxy: text });
      expect(read).toThrow(/https_proxy in the environment is not/);
      expect(read).not.toThrow(/s3cret/);
    },
  );
});

describe('--proxy', () => {
  test('is a URL or none', () => {
    expect(proxyOf({ proxy: 'none' }, { RELAY_PROXY: 'http://p:1' })).toBe('none');
    expect(proxyOf({ proxy: 'proxy.test:3128' }, {})).toEqual(new URL('http://proxy.test:3128'));
    expect(proxyOf({}, { RELAY_PROXY: 'http://u:s3cret@p:1' })).toEqual(new URL('http://u:s3cret@p:1'));
    expect(proxyOf({}, {})).toBeUndefined();
  });

  test('takes no password as a flag, and never repeats one', () => {
    expect(() => proxyOf({ proxy: 'http://u:s3cret@p:1' }, {})).toThrow(
      /^--proxy: the value has a password.*RELAY_PROXY$/,
    );
    expect(() => proxyOf({}, { RELAY_PROXY: 'socks5://u:s3cret@p:1' })).toThrow(
      /^--proxy .*: the value is neither none/,
    );
  });

  test('is shown without its password, and so are the variables that count in its place', () => {
    using workspace = new Workspace();
    const env = {
      RELAY_PROXY: 'http://u:s3cret@p:1',
      HTTPS_PROXY: 'http://v:s3cret@q:2',
      NO_PROXY: 'a.test',
      http_proxy: 's3cret%',
    };
    const text = printConfig('connector', {}, { env, cwd: workspace.path });
    expect(text).toMatch(/^proxy +http:\/\/u:\*+@p:1 +RELAY_PROXY in the environment$/m);
    expect(text).toMatch(/^HTTPS_PROXY +http:\/\/v:\*+@q:2 +environment$/m);
    expect(text).toMatch(/^NO_PROXY +a\.test +environment$/m);
    expect(text).not.toMatch(/s3cret/);
  });
});
