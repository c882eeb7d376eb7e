import { describe, expect, test } from '@jest/globals';
import { createProxyChooser, type ProxySettings } from '../../../../src/http/proxy/choose-proxy.ts';
import { parseNoProxy } from '../../../../src/http/proxy/no-proxy.ts';

describe('NO_PROXY', () => {
  test.each([
    ['example.com', 'example.com', 443, true],
    ['example.com', 'router.example.com', 443, true],
    ['example.com', 'badexample.com', 443, false],
    ['.example.com', 'router.example.com', 443, true],
    ['.example.com', 'example.com', 443, true],
    ['*.example.com', 'router.example.com', 443, true],
    ['EXAMPLE.com', 'Router.Example.COM', 443, true],
    ['example.com', 'router.example.com.', 443, true],
    ['a.test, b.test', 'b.test', 80, true],
    ['a.test b.test', 'a.test', 80, true],
    ['a.test,,', 'c.test', 80, false],
    ['*', 'anything.test', 80, true],
    ['a.test,*', 'anything.test', 80, true],
    ['a.test:8080', 'a.test', 8080, true],
    ['a.test:8080', 'a.test', 80, false],
    ['10.0.0.1', '10.0.0.1', 80, true],
    ['0.0.0.1', '10.0.0.1', 80, false],
    ['10.0.0.0/8', '10.200.3.4', 80, true],
    ['10.0.0.0/8', '11.0.0.1', 80, false],
    ['192.168.1.128/25', '192.168.1.127', 80, false],
    ['10.0.0.0/99', '10.0.0.1', 80, false],
    ['[::1]', '[::1]', 80, true],
    ['fd00::/8', '[fd12::1]', 80, true],
    ['fd00::/8', '[fe80::1]', 80, false],
    ['::1', '[::1]', 80, true],
    ['[fd00::5]:8080', '[fd00::5]', 8080, true],
    ['', 'example.com', 80, false],
  ])('%j and %s:%d: %s', (list, host, port, expected) => {
    expect(parseNoProxy(list)(host, port)).toBe(expected);
  });
});

describe('the choice of a proxy', () => {
  const settings: ProxySettings = {
    http: new URL('http://plain:1'),
    https: new URL('http://secure:2'),
    noProxy: 'inside.test',
    includesLoopback: false,
  };
  const choose = (url: string, overrides: Partial<ProxySettings> = {}): string | undefined =>
    createProxyChooser({ ...settings, ...overrides })(new URL(url))?.host;

  test('goes by the scheme, that of WebSockets too', () => {
    expect(choose('http://a.test')).toBe('plain:1');
    expect(choose('ws://a.test')).toBe('plain:1');
    expect(choose('https://a.test')).toBe('secure:2');
    expect(choose('wss://a.test')).toBe('secure:2');
    expect(choose('https://a.test', { https: undefined })).toBeUndefined();
  });

  test('knows the port that a URL leaves out', () => {
    expect(choose('https://a.test', { noProxy: 'a.test:443' })).toBeUndefined();
    expect(choose('http://a.test', { noProxy: 'a.test:443' })).toBe('plain:1');
  });

  test.each(['http://localhost:8080', 'http://127.0.0.1:8080', 'http://[::1]', 'https://a.localhost'])(
    'leaves %s alone, unless it was asked not to',
    (url) => {
      expect(choose(url)).toBeUndefined();
      expect(choose(url, { includesLoopback: true })).toMatch(/plain|secure/);
    },
  );
});
