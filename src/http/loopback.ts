/** Whether a hostname, as `URL` has it, is this machine's own: localhost, 127.0.0.0/8 or ::1 (RFC 6761 §6.3). */
export function isLoopbackName(hostname: string): boolean {
  return (
    hostname === 'localhost' ||
    hostname.endsWith('.localhost') ||
    hostname === '[::1]' ||
    /^127(?:\.\d{1,3}){3}$/.test(hostname)
  );
}
