import { describe, expect, test } from '@jest/globals';
import type { IncomingMessage } from 'node:http';
import { BaseUrl } from '../../../src/router/base-url.ts';
import { clientAddress, describeClient } from '../../../src/router/client-address.ts';
import { ForwardingReader } from '../../../src/router/forwarding.ts';

/** A proxy on this machine, a balancer before it, and everything of a private range. */
const forwarding = new ForwardingReader(['127.0.0.1', '10.0.0.0/8', 'fd00::/8', '::1']);

function asked(headers: Record<string, string>, remoteAddress = '127.0.0.1'): IncomingMessage {
  const socket = { remoteAddress, remotePort: 4711, localAddress: '127.0.0.1', localPort: 8080 };
  return { headers, socket } as unknown as IncomingMessage;
}

describe('the address of the client', () => {
  test.each([
    ['a peer that is not trusted', '203.0.113.9', '198.51.100.1', '203.0.113.9'],
    ['a trusted peer without a word', '127.0.0.1', '', '127.0.0.1'],
    ['one step', '127.0.0.1', '198.51.100.1', '198.51.100.1'],
    ['what the client made up before it', '127.0.0.1', '1.2.3.4, 198.51.100.1', '198.51.100.1'],
    ['a made-up trusted address before it', '127.0.0.1', '10.0.0.1, 198.51.100.1', '198.51.100.1'],
    ['several trusted proxies', '127.0.0.1', '1.2.3.4, 198.51.100.1, 10.1.1.1, 10.2.2.2', '198.51.100.1'],
    ['a client within the trusted range', '127.0.0.1', '10.1.1.1', '10.1.1.1'],
    ['garbage', '127.0.0.1', 'localhost', '127.0.0.1'],
    ['garbage before a trusted proxy', '127.0.0.1', '198.51.100.1, <script>, 10.2.2.2', '10.2.2.2'],
    ['unknown (RFC 7239)', '127.0.0.1', 'unknown', '127.0.0.1'],
    ['an address with a port', '127.0.0.1', '198.51.100.1:50123', '198.51.100.1'],
    ['IPv6', '127.0.0.1', '2001:DB8:0:0::1', '2001:db8::1'],
    ['IPv6 in brackets', '127.0.0.1', '[2001:db8::1]', '2001:db8::1'],
    ['IPv6 in brackets with a port', '127.0.0.1', '[2001:db8::1]:443', '2001:db8::1'],
    ['a trusted IPv6 step', '::1', '2001:db8::1, fd00::7', '2001:db8::1'],
    ['IPv4 that is mapped into IPv6', '::ffff:127.0.0.1', '::ffff:198.51.100.1', '198.51.100.1'],
    ['a mapped trusted step', '::ffff:7f00:1', '198.51.100.1, ::ffff:10.0.0.9', '198.51.100.1'],
    ['empty elements', '127.0.0.1', ' , ,198.51.100.1', '198.51.100.1'],
    ['an empty last element', '127.0.0.1', '198.51.100.1,', '127.0.0.1'],
    ['an address that is none', '127.0.0.1', '198.51.100.256', '127.0.0.1'],
    ['a zone', '127.0.0.1', 'fe80::1%eth0', 'fe80::1'],
  ])('with %s', (_what, peer, header, expected) => {
    const headers = header === '' ? {} : { 'x-forwarded-for': header };
    expect(clientAddress(asked(headers, peer), forwarding)).toBe(expected);
  });

  test.each([
    ['for=198.51.100.1;proto=https;by=10.0.0.1', '198.51.100.1'],
    ['for=1.2.3.4, for=198.51.100.1;host=a.test', '198.51.100.1'],
    ['For="[2001:db8::1]:443"', '2001:db8::1'],
    ['for=198.51.100.1, for="10.1.1.1:80"', '198.51.100.1'],
    ['for="1.2.3.4, for=5.6.7.8"', '127.0.0.1'],
    ['for=_hidden', '127.0.0.1'],
    ['proto=https', '127.0.0.1'],
    ['"', '127.0.0.1'],
  ])('from Forwarded: %s', (forwarded, expected) => {
    expect(clientAddress(asked({ forwarded }), forwarding)).toBe(expected);
  });

  test('is not taken from Forwarded, which a client may have sent, where the proxy speaks the other way', () => {
    const headers = { forwarded: 'for=1.2.3.4;host=evil.test', 'x-forwarded-for': '198.51.100.1' };
    expect(forwarding.read(asked(headers))).toMatchObject({ address: '198.51.100.1', host: undefined });
  });

  test('is shown with the proxy that it came by', () => {
    expect(describeClient(asked({}, '::ffff:203.0.113.9'), forwarding)).toBe('203.0.113.9:4711');
    expect(describeClient(asked({}, '2001:db8::1'), forwarding)).toBe('[2001:db8::1]:4711');
    const passedOn = asked({ 'x-forwarded-for': '198.51.100.1' });
    expect(describeClient(passedOn, forwarding)).toBe('198.51.100.1 by 127.0.0.1:4711');
  });

  test('is the peer where nobody is trusted', () => {
    const nobody = new ForwardingReader([]);
    expect(clientAddress(asked({ 'x-forwarded-for': '1.2.3.4' }), nobody)).toBe('127.0.0.1');
  });
});

describe('the base URL behind trusted proxies', () => {
  const base = new BaseUrl(undefined, forwarding);
  const of = (headers: Record<string, string>, peer?: string): string =>
    base.of(asked({ host: 'inside:8080', ...headers }, peer));

  test('is as the client wrote it', () => {
    expect(of({ 'x-forwarded-proto': 'https', 'x-forwarded-host': 'relay.example.com' })).toBe(
      'https://relay.example.com',
    );
    expect(of({ 'x-forwarded-proto': 'https' })).toBe('https://inside:8080');
    expect(of({ 'x-forwarded-host': 'relay.example.com:8443', 'x-forwarded-prefix': '/a/b/' })).toBe(
      'http://relay.example.com:8443/a/b',
    );
    expect(of({ forwarded: 'proto=https;host="relay.example.com:8443";for=1.2.3.4' })).toBe(
      'https://relay.example.com:8443',
    );
  });

  test('is not what anybody else claims', () => {
    const claims = { 'x-forwarded-proto': 'https', 'x-forwarded-host': 'evil.test', 'x-forwarded-prefix': '/evil' };
    expect(of(claims, '203.0.113.9')).toBe('http://inside:8080');
    // Two trusted proxies, of which the outer one added to what the client had sent.
    const lists = {
      'x-forwarded-for': '6.6.6.6, 198.51.100.1, 10.1.1.1',
      'x-forwarded-proto': 'http, https, http',
      'x-forwarded-host': 'evil.test, relay.example.com, inner.test',
    };
    expect(of(lists)).toBe('https://relay.example.com');
  });

  test.each([
    'evil.test/path',
    'user@evil.test',
    'evil.test:99999',
    'evil.test:x',
    'a b',
    '<script>',
    '[::1',
    '-',
    `${'a'.repeat(400)}.test`,
    'evil.test\\@x',
    'evil.test?x',
    'evil.test#x',
  ])('does without the unbelievable host %j', (host) => {
    const expected = host === '-' ? 'http://-' : 'http://inside:8080';
    expect(of({ 'x-forwarded-host': host })).toBe(expected);
  });

  test.each(['evil', '//evil.test', '/a//b', '/../x', '/a/./b', '/a?b', '/a b', '/a#b', '/'])(
    'does without the unbelievable prefix %j',
    (prefix) => {
      expect(of({ 'x-forwarded-prefix': prefix })).toBe('http://inside:8080');
    },
  );

  test.each(['ftp', 'javascript', 'https:', ''])('does without the unbelievable scheme %j', (scheme) => {
    expect(of({ 'x-forwarded-proto': scheme })).toBe('http://inside:8080');
  });

  test('has a prefix that may be there or stripped', () => {
    const request = asked({ 'x-forwarded-prefix': '/relay' });
    expect(base.strip('/relay/healthz', request)).toBe('/healthz');
    expect(base.strip('/healthz', request)).toBe('/healthz');
    expect(base.strip('/relayed', request)).toBe('/relayed');
    expect(base.strip('/relay/healthz', asked({ 'x-forwarded-prefix': '/relay' }, '203.0.113.9'))).toBe(
      '/relay/healthz',
    );
  });

  test('is the public one where there is one', () => {
    const fixed = new BaseUrl(new URL('https://public.test/p'), forwarding);
    const request = asked({ 'x-forwarded-host': 'other.test', 'x-forwarded-prefix': '/q' });
    expect(fixed.of(request)).toBe('https://public.test/p');
    expect(fixed.strip('/p/x', request)).toBe('/x');
    expect(fixed.strip('/q/x', request)).toBe('/q/x');
  });
});
