/** Whether a hostname, as `URL` has it, is this machine's own: localhost, 127.0.0.0/8 or ::1 (RFC 6761 §6.3). */
export function isLoopbackName(hostname: string): boolean {
  return (
    hostname === 'localhost' ||
    hostname.endsWith('.localhost') ||
    hostname === '[::1]' ||
    /^127(?:\.\d{1,3}){3}$/.test(hostname)
  );
}

/**
 * To whom what is sent to a URL goes in the clear; undefined where it is encrypted or stays on this machine.
 * @param proxy the one by which the URL is reached; it reads plain HTTP whichever host that is for.
 */
export function findClearReceiver(url: URL, proxy: URL | undefined): string | undefined {
  if (url.protocol !== 'http:') return undefined;
  if (proxy !== undefined) return `the proxy ${proxy.origin}`;
  return isLoopbackName(url.hostname) ? undefined : url.origin;
}
