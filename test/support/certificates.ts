import { run } from './processes.ts';

/** Makes a self-signed certificate for this machine, good for two days, and writes it and its key in PEM form. */
export async function makeCertificate({ key, cert }: { key: string; cert: string }): Promise<void> {
  const line =
    'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost ' +
    '-addext subjectAltName=DNS:localhost,IP:127.0.0.1';
  const { code, stderr } = await run('openssl', [...line.split(' '), '-keyout', key, '-out', cert]);
  if (code !== 0) throw new Error(`openssl: ${stderr}`);
}
