/** Whether a host, as a URL has it, names this very machine: localhost and what is below it, 127.0.0.0/8, ::1. */
export const isLoopbackName = (hostname: string): boolean =>
  hostname === 'localhost' ||
  hostname.endsWith('.localhost') ||
  hostname === '[::1]' ||
  /^127(?:\.\d{1,3}){3}$/.test(hostname);
